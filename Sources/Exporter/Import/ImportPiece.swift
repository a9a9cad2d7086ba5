import Accounting

/// A part of an import, which the store books at once.
struct ImportPiece: Sendable {
    let accounts: [ImportedAccount]
    /// Whether nothing is kept.
    let isTrial: Bool
}
