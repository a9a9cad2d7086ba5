/// Why applications can't be metered, with the remedy.
package struct AttachmentError: Error, CustomStringConvertible, Sendable {
    package enum Code: Sendable, Equatable {
        /// The kernel doesn't describe its types (BTF).
        case noTypes
        /// There is no cgroup 2 file system.
        case noCgroups
        /// A capability is missing.
        case notAllowed
        /// Another program at the root of the cgroups lets no other program in.
        case occupied
        /// The kernel refused a step with this `errno`.
        case refused(CInt)
    }

    package var code: Code
    package var message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }
}
