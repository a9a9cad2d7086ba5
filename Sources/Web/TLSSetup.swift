import Configuration
import NIOSSL

/// The encryption of connections, and which clients may connect.
struct TLSSetup: Sendable {
    /// What is wrong with a certificate or key. It never has the library's message, which repeats the input.
    struct Problem: Error {
        /// The key under `tls_server_config`.
        let key: String
        let problem: String
    }

    let context: NIOSSLContext
    /// A client's certificate must have one of these names; nil for any.
    let allowedNames: [String]?
    /// The PEM text that certificates of clients are checked against; nil when they aren't asked for.
    let authority: [UInt8]?

    /// - Throws: `Problem` when a file can't be read or isn't what it should be.
    init(_ tls: WebConfiguration.TLS, _ files: inout WebFiles) throws(Problem) {
        let chain = try Self.certificates(tls.certificate, "cert", &files)
        let (keyName, keyBytes) = try Self.bytes(tls.key, "key", &files)
        guard let key = try? NIOSSLPrivateKey(bytes: keyBytes, format: .pem) else {  // One remedy for all reasons.
            throw Problem(key: keyName, problem: "there is no private key as PEM without a passphrase; give one")
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = tls.versions.lowerBound.tlsVersion
        configuration.maximumTLSVersion = tls.versions.upperBound.tlsVersion
        configuration.cipherSuiteValues = (tls.cipherSuites.isEmpty ? CipherSuite.standard : tls.cipherSuites)
            .map(\.value)
        configuration.curves = tls.curves?.map(\.value)
        configuration.applicationProtocols = ["http/1.1"]
        switch tls.clients {
        case .anonymous: configuration.certificateVerification = .none
        case .verifiedIfGiven: configuration.certificateVerification = .optionalVerification
        case .verified: configuration.certificateVerification = .noHostnameVerification
        }
        var authorityBytes: [UInt8]?
        if let authority = tls.clients.authority {
            authorityBytes = try Self.bytes(authority, "client_ca", &files).bytes
            configuration.trustRoots = .certificates(try Self.certificates(authority, "client_ca", &files))
        }
        guard let context = try? NIOSSLContext(configuration: configuration) else {  // All else is checked above.
            throw Problem(key: keyName, problem: "the private key doesn't belong to the certificate; give the pair")
        }
        self.context = context
        allowedNames = tls.clients.allowedNames
        authority = authorityBytes
    }

    private typealias CipherSuite = WebConfiguration.TLS.CipherSuite

    private static func certificates(
        _ source: WebConfiguration.TLS.Source, _ key: String, _ files: inout WebFiles
    ) throws(Problem) -> [NIOSSLCertificate] {
        let (name, bytes) = try bytes(source, key, &files)
        guard let certificates = try? NIOSSLCertificate.fromPEMBytes(bytes), !certificates.isEmpty else {
            throw Problem(key: name, problem: "there is no certificate as PEM; give one or more")  // For all reasons.
        }
        return certificates
    }

    private static func bytes(
        _ source: WebConfiguration.TLS.Source, _ key: String, _ files: inout WebFiles
    ) throws(Problem) -> (name: String, bytes: [UInt8]) {
        switch source {
        case .inline(let bytes): return (key, bytes)
        case .file(let path):
            let bytes = try files.reading(of: path).contents.mapError { error in
                let problem = "\(path) can't be read: \(error); name a plain PEM file that netusage may read"
                return Problem(key: "\(key)_file", problem: problem)
            }.get()
            return ("\(key)_file", bytes)
        }
    }
}

extension WebConfiguration.TLS.Version {
    fileprivate var tlsVersion: TLSVersion {
        switch self {
        case .tls10: .tlsv1
        case .tls11: .tlsv11
        case .tls12: .tlsv12
        case .tls13: .tlsv13
        }
    }
}

extension WebConfiguration.TLS.Curve {
    fileprivate var value: NIOTLSCurve {
        switch self {
        case .p256: .secp256r1
        case .p384: .secp384r1
        case .p521: .secp521r1
        case .x25519: .x25519
        case .x25519MLKEM768: .x25519_MLKEM768
        }
    }
}

extension WebConfiguration.TLS.CipherSuite {
    fileprivate var value: NIOTLSCipher {
        switch self {
        case .aes128GCM: .TLS_AES_128_GCM_SHA256
        case .aes256GCM: .TLS_AES_256_GCM_SHA384
        case .chaCha20: .TLS_CHACHA20_POLY1305_SHA256
        case .ecdheECDSAWithAES128GCM: .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        case .ecdheRSAWithAES128GCM: .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        case .ecdheECDSAWithAES256GCM: .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        case .ecdheRSAWithAES256GCM: .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        case .ecdheECDSAWithChaCha20: .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        case .ecdheRSAWithChaCha20: .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        case .ecdheECDSAWithAES128CBC: .TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA
        case .ecdheRSAWithAES128CBC: .TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
        case .ecdheECDSAWithAES256CBC: .TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA
        case .ecdheRSAWithAES256CBC: .TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA
        case .rsaWithAES128GCM: .TLS_RSA_WITH_AES_128_GCM_SHA256
        case .rsaWithAES256GCM: .TLS_RSA_WITH_AES_256_GCM_SHA384
        case .rsaWithAES128CBC: .TLS_RSA_WITH_AES_128_CBC_SHA
        case .rsaWithAES256CBC: .TLS_RSA_WITH_AES_256_CBC_SHA
        }
    }
}
