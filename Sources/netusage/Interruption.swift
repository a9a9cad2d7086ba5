import Glibc
import Synchronization

/// Whether the user wants to stop, for work that must tidy up.
enum Interruption {
    private static let flag = Atomic<Bool>(false)

    /// From now on, signals of the terminal and of systemd only set ``isAsked``.
    static func watch() {
        flag.store(false, ordering: .relaxed)
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal(number) { _ in Interruption.ask() }
        }
    }

    static func ask() { flag.store(true, ordering: .relaxed) }

    static var isAsked: Bool { flag.load(ordering: .relaxed) }
}
