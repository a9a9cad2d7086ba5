import CSQLite

/// A failure that SQLite reports.
package struct SQLiteError: Error {
    /// The extended result code, <https://sqlite.org/rescode.html>.
    package let code: CInt
    package let message: String

    /// The code without its extension.
    private var primaryCode: CInt { code & 0xFF }

    /// The file isn't a database.
    package var isNoDatabase: Bool { primaryCode == SQLITE_NOTADB }

    /// The file itself is certainly at fault.
    package var isDamage: Bool { primaryCode == SQLITE_CORRUPT || isNoDatabase }

    /// A sound file doesn't cause this error if the program's own statements are right.
    package var isSuspicious: Bool { [SQLITE_ERROR, SQLITE_CONSTRAINT, SQLITE_MISMATCH].contains(primaryCode) }

    /// Another connection locks the file.
    package var isBusy: Bool { primaryCode == SQLITE_BUSY }

    /// The disk is full.
    package var isFull: Bool { primaryCode == SQLITE_FULL }

    /// The deadline for statements has passed; see ``Connection/distrust(forSeconds:)``.
    package var isInterrupted: Bool { primaryCode == SQLITE_INTERRUPT }

    /// `SQLITE_CANTOPEN_SYMLINK`: a link in the file's path.
    package var isSymbolicLink: Bool { code == SQLITE_CANTOPEN | 6 << 8 }
}
