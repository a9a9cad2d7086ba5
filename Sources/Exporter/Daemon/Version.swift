import CLinux

/// What runs here.
package enum Version {
    package static let number = "0.1.0"

    /// The commit that the program was built from, or `unknown`.
    package static var revision: String { String(cString: netusage_revision()) }
}
