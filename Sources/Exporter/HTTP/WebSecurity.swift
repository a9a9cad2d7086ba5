import CLinux
import Configuration
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Who may ask, and whether answers are encrypted, as the web-config file says; a change in it holds for the next
/// request. Used on the server's event loop only.
final class WebSecurity {
    private let path: String?
    private let logger: Logger
    private var configuration: WebConfiguration
    private var context: NIOSSLContext?
    private var stamps: [FileStamp?]
    private let passwords: PasswordChecker

    /// - Throws: `ConfigurationErrors` when the file, or what it names, makes no sense.
    init(path: String?, logger: Logger) throws(ConfigurationErrors) {
        self.path = path
        self.logger = logger
        passwords = PasswordChecker()
        (configuration, context) = try Self.load(path)
        stamps = []
        stamps = currentStamps
    }

    var isEncrypted: Bool { context != nil }

    /// Headers that every answer carries.
    var extraHeaders: [WebConfiguration.Header] { configuration.headers }

    /// What the next connection is encrypted with; `nil` without TLS.
    func currentContext() -> NIOSSLContext? {
        follow()
        return context
    }

    /// Whether a request may be answered.
    enum Verdict: Sendable {
        case allowed, denied
        /// Too many passwords wait to be checked.
        case busy
    }

    /// Judges a request by its `Authorization` header; that may take a moment.
    func authorize(_ header: String?, on loop: any EventLoop, _ proceed: @escaping @Sendable (Verdict) -> Void) {
        if path == nil { return proceed(.allowed) }
        follow()
        if configuration.users.isEmpty { return proceed(.allowed) }
        guard let (user, password) = Self.credentials(in: header) else { return proceed(.denied) }
        passwords.check(user: user, password: password, hash: configuration.users[user], on: loop, proceed)
    }

    // MARK: - The file

    /// Takes up the file if it, or one that it names, has changed; what makes no sense is told once and passed over.
    private func follow() {
        let now = currentStamps
        if now == stamps { return }
        stamps = now
        do {
            (configuration, context) = try Self.load(path)
            stamps = currentStamps
            logger.notice("the web configuration was read again", metadata: ["file": "\(path ?? "")"])
        } catch {
            logger.error("the web configuration has errors; the former one goes on", metadata: ["error": "\(error)"])
        }
    }

    private var currentStamps: [FileStamp?] {
        guard let path else { return [] }
        let named = configuration.tls.map { [$0.certificateFile, $0.keyFile, $0.clientAuthorityFile ?? ""] } ?? []
        return ([path] + named).map { FileStamp(path: $0) }
    }

    private static func load(
        _ path: String?
    ) throws(ConfigurationErrors) -> (WebConfiguration, NIOSSLContext?) {
        guard let path else { return (.none, nil) }
        let bytes: [UInt8]
        do throws(SmallFile.Failure) {
            bytes = try SmallFile.read(path, limit: 1024 * 1024)
        } catch {
            throw ConfigurationErrors(file: path, problem: "the file can't be read: \(error); check --web.config.file")
        }
        let configuration = try WebConfiguration(yaml: bytes, file: path)
        guard let tls = configuration.tls else { return (configuration, nil) }
        do {
            return (configuration, try NIOSSLContext(configuration: serverConfiguration(tls)))
        } catch {
            let problem = "TLS can't be set up with \(tls.certificateFile) and \(tls.keyFile): \(error); give PEM files"
            throw ConfigurationErrors(file: path, problem: problem)
        }
    }

    private static func serverConfiguration(_ tls: WebConfiguration.TLS) throws -> TLSConfiguration {
        let chain = try NIOSSLCertificate.fromPEMFile(tls.certificateFile).map {
            NIOSSLCertificateSource.certificate($0)
        }
        let key = try NIOSSLPrivateKey(file: tls.keyFile, format: .pem)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = tls.minimumVersion.tlsVersion
        configuration.maximumTLSVersion = tls.maximumVersion.tlsVersion
        configuration.applicationProtocols = ["http/1.1"]
        if let file = tls.clientAuthorityFile { configuration.trustRoots = .file(file) }
        switch tls.clientAuthentication {
        case .none: configuration.certificateVerification = .none
        case .verifyIfGiven: configuration.certificateVerification = .optionalVerification
        case .require: configuration.certificateVerification = .noHostnameVerification
        }
        return configuration
    }

    /// The name and password of `Basic` authentication (RFC 7617).
    static func credentials(in header: String?) -> (user: String, password: String)? {
        guard let parts = header?.split(separator: " "), parts.count == 2, parts[0].lowercased() == "basic",
            let bytes = Base64.decode(parts[1]), let text = String(validating: bytes, as: UTF8.self),
            let colon = text.firstIndex(of: ":")
        else { return nil }
        return (String(text[..<colon]), String(text[text.index(after: colon)...]))
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

/// Checks passwords one at a time, on a thread of their own: bcrypt takes a tenth of a second and more, by design.
/// Used on the server's event loop only.
private final class PasswordChecker {
    /// More than this don't wait: somebody is guessing.
    private static let maximumWaiting = 16
    /// Good passwords that are remembered: a scraper comes every few seconds with the same one.
    private static let maximumRemembered = 64
    /// The hash of a password that nobody has, so that an unknown name takes as long as a known one.
    private static let nobodysHash = "$2b$10$7lQd7eK6P7sZ1YZ5cr4IyuTjt7wycRM/0b3AQLvKDAuiVMkYbOs1."

    private struct Claim: Hashable {
        var user: String
        var password: String
        var hash: String
    }

    private let pool = NIOThreadPool(numberOfThreads: 1)
    private var remembered: Set<Claim> = []
    private var waiting = 0
    private var isStarted = false

    func check(
        user: String, password: String, hash: String?, on loop: any EventLoop,
        _ answer: @escaping @Sendable (WebSecurity.Verdict) -> Void
    ) {
        let claim = hash.map { Claim(user: user, password: password, hash: $0) }
        if let claim, remembered.contains(claim) { return answer(.allowed) }
        if waiting >= Self.maximumWaiting { return answer(.busy) }
        if !isStarted { pool.start() }
        isStarted = true
        waiting += 1
        let hash = hash ?? Self.nobodysHash
        let checker = NIOLoopBound(self, eventLoop: loop)
        pool.runIfActive(eventLoop: loop) { netusage_password_matches(password, hash) }.whenComplete { result in
            checker.value.waiting -= 1
            let isGood = claim != nil && (try? result.get()) == true  // A pool that has been shut down knows nobody.
            if isGood, let claim { checker.value.remember(claim) }
            answer(isGood ? .allowed : .denied)
        }
    }

    private func remember(_ claim: Claim) {
        if remembered.count >= Self.maximumRemembered { remembered.removeAll() }
        remembered.insert(claim)
    }
}

/// RFC 4648 §4.
enum Base64 {
    /// The bytes; `nil` when the text isn't of the alphabet.
    static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for character in text.utf8 where character != UInt8(ascii: "=") {
            let value: UInt8
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a") + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0") + 52
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            default: return nil
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return bytes
    }
}
