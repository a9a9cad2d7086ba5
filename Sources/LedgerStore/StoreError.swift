/// Why the ledger's file can't be used, for people: what is wrong, where, and what to do about it.
package struct StoreError: Error, CustomStringConvertible, Sendable {
    package enum Code: Sendable, Equatable {
        /// Another process writes this ledger.
        case locked
        /// The file was written by a newer version of the program.
        case newer
        /// The file belongs to something else.
        case foreign
        /// The file's contents make no sense; it can be moved aside.
        case damaged
        /// The file at the path isn't the one that was opened: somebody deleted or replaced it.
        case replaced
        /// Another program has the file locked.
        case busy
        /// A change of the database isn't finished: it is under way, or it was interrupted.
        case unfinished
        /// The disk is full.
        case full
        /// Reading or writing fails for now: permissions, a read-only or failing disk.
        case unavailable
    }

    package var code: Code
    package var path: String
    package var message: String

    package init(_ code: Code, path: String, _ message: String) {
        self.code = code
        self.path = path
        self.message = message
    }

    package var description: String { "\(path): \(message); \(remedy)" }

    private var remedy: String {
        switch code {
        case .locked: "stop the other netusage, or give this one a ledger of its own with --storage.path"
        case .newer: "install the newer netusage, or name another file with --storage.path; the file is left as it is"
        case .foreign: "name another file with --storage.path; this one is left as it is"
        case .damaged: "netusage serve moves it aside and begins a new one"
        case .replaced: "restart netusage to use the file that is there now"
        case .busy: "end the program that has it locked"
        case .unfinished:
            "if no program writes the database now, open it with sqlite3 or with the program that wrote it: that undoes the change"
        case .full: "free some space on its disk"
        case .unavailable:
            "check the disk and the permissions, or name another file with --storage.path"
        }
    }
}
