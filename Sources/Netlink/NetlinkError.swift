import Machine

/// A failure of the kernel's routing socket, with a message for people.
package struct NetlinkError: Error, CustomStringConvertible, Sendable {
    package enum Code: Sendable, Equatable {
        /// A system call failed with this `errno`.
        case system(CInt)
        /// The kernel refused a request with this `errno`.
        case refused(CInt)
        /// Messages were lost: the socket's buffer ran over, or a message didn't fit.
        case overrun
        /// The list changed while it was dumped, again and again.
        case interrupted
        /// The kernel sent something that isn't a message.
        case malformed
        /// The kernel doesn't answer in time: another program holds its lock.
        case busy
    }

    package var code: Code
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }

    init(_ failure: PatientWorkerFailure) {
        switch failure {
        case .busy:
            self.init(
                .busy, "the kernel is busy with network configuration (its RTNL lock is held) and doesn't answer")
        case .noThread(let code): self.init(.system(code), "a thread can't be started: \(errorText(code))")
        }
    }
}
