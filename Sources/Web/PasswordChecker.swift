import CLinux
import Configuration
import NIOCore
import NIOPosix

/// Checks passwords one at a time, on a thread of their own: bcrypt takes a tenth of a second and more, by design.
/// Used on the server's event loop only.
final class PasswordChecker {
    /// How many may wait: as many as there are connections. Clients that have gone don't count.
    private static let maximumWaiting = 1024
    /// Scrapers usually give up after 10 s. Guessers that wait so long ask less often.
    private static let patience = TimeAmount.seconds(8)
    /// How many good passwords are remembered: a scraper comes every few seconds with the same one.
    private static let maximumRemembered = 64

    /// A password that waits to be checked.
    private struct Claim {
        let password: [UInt8]
        /// Nil for an unknown user.
        let hash: PasswordHash?
        let highestCost: UInt8
        /// Identifies the password, to remember it if it is right.
        let digest: [UInt8]
        let origin: ClientOrigin
        let channel: any Channel
        let answer: (WebSecurity.Verdict) -> Void
    }

    private let loop: any EventLoop
    private let pool = NIOThreadPool(numberOfThreads: 1)
    private let keyedHash = KeyedHash()
    private var remembered: Set<[UInt8]> = []
    private var queue = FairQueue<Claim>()
    private var isChecking = false

    init(on loop: any EventLoop) {
        self.loop = loop
    }

    /// Checks a password; the answer may take some seconds.
    ///
    /// - Parameters:
    ///   - hash: The hash of the user's password; nil for an unknown user.
    ///   - highestCost: The highest cost of all users' hashes. A wrong password takes as long for every user.
    func check(
        _ credentials: Credentials, hash: PasswordHash?, highestCost: UInt8, of channel: any Channel,
        _ answer: @escaping (WebSecurity.Verdict) -> Void
    ) {
        let userCount = UInt64(credentials.user.count)
        let message =
            withUnsafeBytes(of: userCount.bigEndian) { Array($0) } + credentials.user + (hash?.text ?? [])
            + credentials.password
        let digest = keyedHash.digest(of: message)
        if hash != nil, remembered.contains(digest) { return answer(.allowed) }
        if queue.count >= Self.maximumWaiting { queue.removeAll { !$0.channel.isActive } }
        if queue.count >= Self.maximumWaiting { return answer(.busy) }
        let origin = ClientOrigin(channel.remoteAddress)
        let claim = Claim(
            password: credentials.password, hash: hash, highestCost: highestCost, digest: digest, origin: origin,
            channel: channel, answer: answer)
        let ticket = queue.add(claim, from: origin)
        loop.assumeIsolated().scheduleTask(in: Self.patience) { self.queue.remove(ticket)?.answer(.busy) }
        checkNext()
    }

    private func checkNext() {
        if isChecking { return }
        pool.start()  // Once; then it does nothing.
        while let claim = queue.next(at: .now()) {
            guard claim.channel.isActive else { continue }  // The client is gone.
            isChecking = true
            let (password, hash, highestCost) = (claim.password, claim.hash, claim.highestCost)
            let check = pool.runIfActive(eventLoop: loop) { Self.isRight(password, hash, highestCost: highestCost) }
            check.assumeIsolated().whenComplete { result in
                // It only fails if the pool has ended; then every password is wrong.
                self.finish(claim, isRight: (try? result.get()) ?? false)
            }
            return
        }
    }

    private func finish(_ claim: Claim, isRight: Bool) {
        isChecking = false
        if isRight {
            if remembered.count >= Self.maximumRemembered { remembered.removeAll() }
            remembered.insert(claim.digest)
        } else {
            queue.noteFailure(of: claim.origin, at: .now())
        }
        claim.answer(isRight ? .allowed : .denied)
        checkNext()
    }

    private static func isRight(_ password: [UInt8], _ hash: PasswordHash?, highestCost: UInt8) -> Bool {
        if let hash, matches(password, hash) { return true }
        for cost in decoyCosts(after: hash?.cost, highest: highestCost) {
            _ = matches(password, PasswordHash(ofNobodyAtCost: cost))
        }
        return false
    }

    /// The costs of hashes that are computed for nothing, so that a wrong password takes as long for every user as for
    /// the one with the costliest hash: 2^c rounds, and then 2^c + 2^(c+1) + … + 2^(highest-1), are 2^highest.
    ///
    /// - Parameter cost: The cost that is already computed; nil for none.
    static func decoyCosts(after cost: UInt8?, highest: UInt8) -> [UInt8] {
        guard let cost else { return [highest] }
        return cost < highest ? Array(cost..<highest) : []
    }

    private static func matches(_ password: [UInt8], _ hash: PasswordHash) -> Bool {
        func text(_ bytes: [UInt8]) -> [CChar] { bytes.map { CChar(truncatingIfNeeded: $0) } + [0] }
        return netusage_password_matches(text(password), text(hash.text))
    }
}
