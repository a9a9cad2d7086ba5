import CFaultVFS
import CSQLite

/// A disk that fails, or a machine that dies, at a chosen change of a file. Connections must be gone before it is.
final class FaultVFS {
    let name: String
    private let handle: OpaquePointer

    init() {
        name = "fault-\(UInt64.random(in: 0 ... .max))"
        handle = fault_vfs_create(name)
    }

    deinit { fault_vfs_destroy(handle) }

    /// At change number `change`, from 1 on, `fault` happens.
    func arm(_ fault: Fault, at change: Int) {
        fault_vfs_arm(handle, fault.mode, CInt(change), fault.code)
    }

    func disarm() { fault_vfs_arm(handle, FAULT_NONE, 0, SQLITE_OK) }

    /// The changes since it was armed or disarmed.
    var changes: Int { Int(fault_vfs_changes(handle)) }

    func watchLock(at path: String) { fault_vfs_watch_lock(handle, path) }
    var unlockedChanges: Int { Int(fault_vfs_unlocked_changes(handle)) }
}

/// What can go wrong with a disk.
enum Fault: CaseIterable, CustomStringConvertible {
    case writeErrorOnce
    case writeErrorFromThenOn
    case fullOnce
    case fullFromThenOn
    case kill
    case powerLoss

    var mode: fault_mode {
        switch self {
        case .writeErrorOnce, .fullOnce: FAULT_ONCE
        case .writeErrorFromThenOn, .fullFromThenOn: FAULT_FROM_THEN_ON
        case .kill: FAULT_KILL
        case .powerLoss: FAULT_TORN
        }
    }

    var code: CInt {
        switch self {
        case .fullOnce, .fullFromThenOn: SQLITE_FULL
        // SQLITE_IOERR_WRITE is a macro with a shift, which Swift doesn't import.
        case .writeErrorOnce, .writeErrorFromThenOn, .kill, .powerLoss: SQLITE_IOERR | 3 << 8
        }
    }

    /// Whether the program survives the fault and may try again.
    var isSurvived: Bool {
        switch self {
        case .writeErrorOnce, .writeErrorFromThenOn, .fullOnce, .fullFromThenOn: true
        case .kill, .powerLoss: false
        }
    }

    var description: String {
        switch self {
        case .writeErrorOnce: "a write error"
        case .writeErrorFromThenOn: "write errors from then on"
        case .fullOnce: "a full disk once"
        case .fullFromThenOn: "a full disk from then on"
        case .kill: "a kill"
        case .powerLoss: "power loss"
        }
    }
}
