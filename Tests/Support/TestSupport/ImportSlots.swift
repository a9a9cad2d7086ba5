import Accounting
import CivilTime

/// Slots of an import that begins on 2026-10-01, UTC.
package enum ImportSlots {
    package static let begin: Int64 = 1_790_812_800
    package static let day: Int64 = 86_400

    package static func slot(_ start: Int64, _ end: Int64, _ bytes: UInt64) -> ImportedAccount.Slot {
        let span = Timestamp(secondsSinceEpoch: start)..<Timestamp(secondsSinceEpoch: end)
        return .init(span, Total(received: bytes, transmitted: bytes / 2))
    }

    package static func hours(_ hours: [Int64], _ bytes: UInt64 = 1000) -> [ImportedAccount.Slot] {
        hours.map { slot(begin + $0 * 3600, begin + ($0 + 1) * 3600, bytes) }
    }
}
