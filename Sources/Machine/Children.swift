import CLinux
import Glibc
import Synchronization

/// The programs that this process starts, and as the first process of a container also those that others left to it.
///
/// All waiting is done here: who waits for any child at all takes the status of those that somebody else waits for.
package final class Children: Sendable {  // A class, for there is one list of them for a process.
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

        /// What is wrong with it; `nil` when it ended with 0. See wait(2).
        package var problem: String? {
            let signal = raw & 0x7F
            if signal != 0 { return "it was ended by signal \(signal)" }
            let code = (raw >> 8) & 0xFF
            return code == 0 ? nil : "it ended with \(code)"
        }
    }

    private struct State {
        /// Those whose status somebody wants, with it if they have ended.
        var wanted: [pid_t: CInt?] = [:]
        /// Those that were killed: nobody wants their status, but it has to be taken.
        var killed: Set<pid_t> = []
        /// How many are being started, whose numbers aren't known yet.
        var startingCount = 0
    }

    private let isFirstProcess: Bool
    private let state = Mutex(State())

    /// - Parameter isFirstProcess: Whether the kernel makes children of others this one's when their parent ends.
    package init(isFirstProcess: Bool = getpid() == 1) {
        self.isFirstProcess = isFirstProcess
    }

    /// Starts a program, which waits for its file system.
    ///
    /// - Parameter environment: The bytes of a `name=value` each.
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
        if process < 0 { throw Failure(description: "it can't be started: \(String(cString: strerror(-process)))") }
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

    /// How a program ended, once, or `nil` while it runs.
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

    /// Ends a program and all that it has started in its process group; nobody may ask for its status any more.
    package func kill(_ child: Child) {
        state.withLock { state in
            // Once its status was taken the number may be another process's.
            if let ended = state.wanted.removeValue(forKey: child.processID), ended != nil { return }
            _ = Glibc.kill(-child.processID, SIGKILL)
            state.killed.insert(child.processID)
        }
    }

    /// Takes the status of every child that has ended and that nobody asks for, so that none stays as a zombie. Never waits.
    package func takeEnded() {
        _ = state.withLockIfAvailable { state in
            state.killed = state.killed.filter { waitpid($0, nil, WNOHANG) == 0 }
            // A program that ends as soon as it is started would be taken for one that others left.
            guard isFirstProcess, state.startingCount == 0 else { return }
            var raw: CInt = 0
            while case let process = waitpid(-1, &raw, WNOHANG), process > 0 {
                if state.wanted[process] != nil { state.wanted[process] = .some(raw) }
            }
        }
    }
}
