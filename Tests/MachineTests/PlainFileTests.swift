import Foundation
import Glibc
import Machine
import Testing

/// Files of the real file system, in a directory of the test's own.
@Suite("Files")
struct PlainFileTests {
    private let directory: URL

    init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("netusage-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    private func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

    private func write(_ name: String, _ bytes: Int) throws -> String {
        try Data(repeating: 0x61, count: bytes).write(to: URL(fileURLWithPath: path(name)))
        return path(name)
    }

    private func openNew(_ name: String) throws(PlainFile.Failure) -> (mode: mode_t, isNew: Bool) {
        let (descriptor, isNew) = try PlainFile.open(path(name), beside: path("neighbour"))
        defer { close(descriptor) }
        var status = stat()
        fstat(descriptor, &status)
        return (status.st_mode & 0o7777, isNew)
    }

    @Test func aNewFileIsForItsOwnerAndGroupAlone() throws {
        #expect(try openNew("new").isNew)
        let (mode, isNew) = try openNew("new")
        #expect(!isNew, "one that is there is taken as it is")
        // The process's umask can only remove bits of 0640.
        #expect(mode & 0o600 == 0o600 && mode & ~0o640 == 0)
    }

    @Test func linksAndTrapsArentFollowed() throws {
        _ = try write("target", 3)
        for (name, target) in [("link", "target"), ("dangling", "nowhere")] {
            #expect(symlink(path(target), path(name)) == 0)
            let error = #expect(throws: PlainFile.Failure.self) { try openNew(name) }
            #expect(error.map { "\($0)" }?.contains("symbolic link") == true, "\(name)")
        }
        #expect(mkfifo(path("fifo"), 0o600) == 0)
        #expect(throws: PlainFile.Failure.self) { try openNew("fifo") }
        #expect(mkdir(path("directory"), 0o700) == 0)
        #expect(throws: PlainFile.Failure.self) { try openNew("directory") }
        #expect(!FileManager.default.fileExists(atPath: path("nowhere")))
    }

    @Test func aFileIsReadWholeOrNotAtAll() throws {
        #expect(try WholeFile.read(write("full", 100), limit: 100).count == 100)
        #expect(throws: WholeFile.Failure.self) { try WholeFile.read(write("more", 101), limit: 100) }
        #expect(try WholeFile.read(write("empty", 0), limit: 100).isEmpty)
        #expect(mkfifo(path("pipe"), 0o600) == 0)
        for name in ["pipe", "nowhere", ""] {
            #expect(throws: WholeFile.Failure.self) { try WholeFile.read(path(name), limit: 100) }
        }
    }

    @Test func textIsTrimmed() throws {
        try Data(" \t a b\r\n\n".utf8).write(to: URL(fileURLWithPath: path("text")))
        #expect(WholeFile.text(path("text")) == "a b")
        #expect(WholeFile.text(path("nowhere")) == nil)
        #expect(try WholeFile.text(write("long", 5000)) == nil)
    }

    @Test func aChangedOrReplacedFileHasAnotherStamp() throws {
        let file = try write("file", 10)
        let (stamp, identity) = (FileStamp(path: file), FileIdentity(path: file))
        #expect(stamp != nil && stamp == FileStamp(path: file))
        try Data(repeating: 0x62, count: 11).write(to: URL(fileURLWithPath: file))
        #expect(FileStamp(path: file) != stamp && FileIdentity(path: file) == identity)
        let other = try write("other", 10)
        #expect(rename(other, file) == 0)
        #expect(FileIdentity(path: file) != identity && FileStamp(path: path("other")) == nil)
        #expect(FileIdentity(path: path("other")) == nil)
    }

    /// A reader sees the old file or the new one, never a part.
    @Test func aFileIsReplacedWhenItIsComplete() throws {
        let target = path("report")
        _ = try write("report", 3)
        chmod(target, 0o640)
        do {
            let file = try ReplacementFile(target)
            try file.write([1, 2, 3, 4, 5])
            #expect(try WholeFile.read(target, limit: 100).count == 3)
        }
        #expect(try WholeFile.read(target, limit: 100).count == 3, "nothing is left of a file that wasn't finished")
        let file = try ReplacementFile(target)
        try file.write([1, 2])
        try file.write([3, 4, 5])
        try file.finish()
        var status = stat()
        #expect(try WholeFile.read(target, limit: 100) == [1, 2, 3, 4, 5])
        #expect(stat(target, &status) == 0 && status.st_mode & 0o777 == 0o640, "the mode stays")
    }

    @Test func aLinkStaysUnlessTheNewFileHasItsOwnMode() throws {
        let (target, link) = (try write("target", 3), path("link"))
        for (mode, isLink) in [(mode_t?.none, true), (0o600, false)] {
            unlink(link)
            #expect(symlink(target, link) == 0)
            let file = try ReplacementFile(link, mode: mode)
            try file.write([7])
            try file.finish()
            var status = stat()
            #expect(lstat(link, &status) == 0 && (status.st_mode & S_IFMT == S_IFLNK) == isLink)
            #expect(try WholeFile.read(link, limit: 100) == [7])
        }
        #expect(throws: (any Error).self) { try ReplacementFile(path("nowhere/file")) }
    }
}
