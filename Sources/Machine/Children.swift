import CLinux
import Glibc
import Synchronization

/// The programs that this process starts. The first process of a container also gets orphans, whose parent has ended.
///
/// Wait for children only here: a wait for any child takes the status of children that other code waits for.
package final class Children: Sendable {  // A class: the process has one list of children.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// A program that was started, in a process group of its own, without input and output.
    package struct Child: Sendable {
        fileprivate let processID: pid_t
    }

    /// How a process ended.
    package struct Status {
        let raw: CInt

        /// How the process failed; `nil` when it ended with 0. See wait(2).
        package var problem: String? {
            let signal = raw & 0x7F
            if signal != 0 { return "it was ended by signal \(signal)" }
            let code = (raw >> 8) & 0xFF
            return code == 0 ? nil : "it ended with \(code)"
        }
    }

    private struct State {
        /// Children whose status will be asked for, and the status if `takeEnded()` has taken it.
        var wanted: [pid_t: CInt?] = [:]
        /// Killed children. Nobody asks for their status, but it has to be taken.
        var killed: Set<pid_t> = []
        /// How many children are being started: their process IDs aren't known yet.
        var startingCount = 0
    }

    private let isFirstProcess: Bool
    private let state = Mutex(State())

    /// - Parameter isFirstProcess: Whether the kernel gives orphans to this process.
    package init(isFirstProcess: Bool = getpid() == 1) {
        self.isFirstProcess = isFirstProcess
    }

    /// Starts a program. This blocks until the program's file system answers.
    ///
    /// - Parameter environment: The bytes of each `name=value`.
    /// - Throws: `Failure` when it can't be started.
    package func start(_ command: [String], environment: [[UInt8]]) throws(Failure) -> Child {
        state.withLock { $0.startingCount += 1 }
        let process = Self.withCStrings(command.map { Array($0.utf8) }) { arguments in
            Self.withCStrings(environment) { netusage_spawn(arguments, $0) }
        }
        state.withLock { state in
            state.startingCount -= 1
            if process > 0 { state.wanted[process] = .some(nil) }
        }
        if process < 0 { throw Failure(description: "it can't be started: \(errorText(-process))") }
        return Child(processID: process)
    }

    private static func withCStrings<Value>(
        _ texts: [[UInt8]], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Value
    ) -> Value {
        var pointers = texts.map { strdup($0.map { CChar(bitPattern: $0) } + [0]) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        return pointers.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress else { preconditionFailure("an array with an element has an address") }
            return body(start)
        }
    }

    /// How a program ended; `nil` while it runs. Don't ask again once there was an answer.
    package func status(of child: Child) -> Status? {
        state.withLock { state in
            var raw: CInt = 0
            if let ended = state.wanted[child.processID], let status = ended {
                raw = status
            } else if waitpid(child.processID, &raw, WNOHANG) != child.processID {
                return nil
            }
            state.wanted[child.processID] = nil
            return Status(raw: raw)
        }
    }

    /// Kills a program and all other processes in its process group. Don't ask for its status afterwards.
    package func kill(_ child: Child) {
        state.withLock { state in
            // If its status was taken, the process ID may belong to another process now.
            if let ended = state.wanted.removeValue(forKey: child.processID), ended != nil { return }
            _ = Glibc.kill(-child.processID, SIGKILL)
            state.killed.insert(child.processID)
        }
    }

    /// Takes the status of all ended children that nobody asks for, so that none stays as a zombie. Never blocks.
    package func takeEnded() {
        _ = state.withLockIfAvailable { state in
            state.killed = state.killed.filter { waitpid($0, nil, WNOHANG) == 0 }
            // Without this, a program that ends before its ID is in `wanted` would pass for an orphan.
            guard isFirstProcess, state.startingCount == 0 else { return }
            var raw: CInt = 0
            while case let process = waitpid(-1, &raw, WNOHANG), process > 0 {
                if state.wanted[process] != nil { state.wanted[process] = .some(raw) }
            }
        }
    }
}
