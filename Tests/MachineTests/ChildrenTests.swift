import Glibc
import Machine
import Testing

@Suite("Programs that are started")
struct ChildrenTests {
    private let children = Children(isFirstProcess: false)

    /// - Returns: The problem of the program's status.
    private func run(_ command: String, environment: [[UInt8]] = []) async throws -> String? {
        let child = try children.start(["/bin/sh", "-c", command], environment: environment)
        for _ in 0..<2000 {
            if let status = children.status(of: child) { return status.problem }
            try await Task.sleep(for: .milliseconds(5))
        }
        return "it doesn't end"
    }

    @Test func howAProgramEndsIsKnown() async throws {
        #expect(try await run("exit 0") == nil)
        #expect(try await run("exit 7") == "it ended with 7")
        #expect(try await run("kill -9 $$") == "it was ended by signal 9")
    }

    @Test func aProgramGetsItsEnvironmentAndNothingElse() async throws {
        let name = "netusage_test=" + "\u{1F600}"
        #expect(
            try await run(
                "test \"$(env | grep -c .)\" -le 4 && test -n \"$netusage_test\"", environment: [Array(name.utf8)])
                == nil)
    }

    @Test func whatCantBeStartedIsAnError() {
        for path in ["/nowhere", "/", ""] {
            #expect(throws: Children.Failure.self) { try children.start([path], environment: []) }
        }
    }

    @Test func aProgramIsEndedWithWhatItHasStarted() async throws {
        let note = "/tmp/netusage-\(getpid())-\(UInt64.random(in: .min ... .max))"
        defer { unlink(note) }
        let child = try children.start(["/bin/sh", "-c", "sleep 1000 & echo $! > \(note); wait"], environment: [])
        var started: String?
        for _ in 0..<2000 where started?.isEmpty ?? true {
            try await Task.sleep(for: .milliseconds(5))
            started = WholeFile.text(note)
        }
        let sleeper = try #require(started.flatMap(Int.init))
        children.kill(child)
        children.kill(child)
        for _ in 0..<2000 {
            children.takeEnded()
            // A zombie has ended, even if nobody has taken its status yet (proc(5): Z).
            let state = WholeFile.text("/proc/\(sleeper)/stat")?.split(separator: " ").dropFirst(2).first
            if state == nil || state == "Z" { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("what it has started goes on")
    }
}
