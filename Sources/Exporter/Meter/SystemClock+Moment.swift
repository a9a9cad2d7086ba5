import Accounting
import Machine

extension SystemClock {
    /// Which boot this is; `Epoch.unknownBoot` where that is hidden.
    static func bootID() -> String { boot() ?? Epoch.unknownBoot }

    /// Both clocks at this moment.
    static func now() -> Moment {
        let (wall, sinceBoot) = nanoseconds()
        return Moment(wallNanoseconds: wall, sinceBoot: BootTime(nanoseconds: sinceBoot))
    }
}
