import Glibc
import Testing

@testable import Machine
@testable import Web

/// Real files, as their stamps come from the kernel.
@Suite("Web files")
struct WebFilesTests {
    @Test func aChangeRightAfterAReadIsSeenEvenWithTheSameStamp() throws {
        try withTemporaryFile { path, write in
            try write("one")
            var files = WebFiles()
            let reading = files.reading(of: path)
            #expect(!files.haveChanged(at: .max / 2) && !files.haveChanged(at: 0))
            // A stamp from before the first read, and bytes from after it, as when somebody writes between the two.
            try write("two")
            let racy = WebFiles(readings: [
                path: WebFiles.Reading(contents: reading.contents, stamp: FileStamp(path: path))
            ])
            var status = stat()
            #expect(stat(path, &status) == 0)
            let changed = Int64(status.st_ctim.tv_sec)
            for now in [0, changed, changed + 1] { #expect(racy.haveChanged(at: now), "it has just changed") }
            #expect(!racy.haveChanged(at: changed + 3), "its bytes aren't read for ever")
        }
    }

    @Test func whatIsNoPlainFileIsRefusedAndNotWaitedFor() throws {
        try withTemporaryFile { path, _ in
            #expect(mkfifo(path, 0o600) == 0)
            var files = WebFiles()
            #expect(
                files.reading(of: path).contents == .failure(WholeFile.Failure(description: "it isn't a plain file")))
            #expect(!files.haveChanged(at: 0))
        }
    }

    private func withTemporaryFile(_ body: (String, (String) throws -> Void) throws -> Void) throws {
        let path = "/tmp/netusage-\(getpid())-\(UInt64.random(in: .min ... .max))"
        defer { unlink(path) }
        try body(path) { text in
            let file = try #require(fopen(path, "w"))
            fputs(text, file)
            fclose(file)
        }
    }
}
