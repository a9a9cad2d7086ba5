import Configuration
import Glibc
import Machine
import NIOCore
import Testing

@testable import Web

/// What a running daemon does about changes of the web-config file, without any file.
@Suite("Web configuration follower")
struct WebConfigurationFollowerTests {
    private static let path = "web.yml"
    private static let hash = "$2y$10$" + String(repeating: "a", count: 53)
    private static let users = "basic_auth_users: { alice: \(hash), bob: \(hash) }\n"
    private static let tls = "tls_server_config: { cert_file: c.pem, key_file: k.pem }\n"

    /// Files change at most every tick of half a second, as the daemon looks.
    private final class Scene {
        var follower: WebConfigurationFollower
        private var ticks: Int64 = 0
        private var writes: UInt = 0

        init(_ yaml: String) throws {
            let version = Self.version(yaml, write: 0)
            follower = WebConfigurationFollower(files: version.files, inForce: try version.result.get())
        }

        /// - Parameter yaml: What has been written since the last look; nil for nothing.
        func look(_ yaml: String?) -> String {
            ticks += 1
            if yaml != nil { writes += 1 }
            let version = yaml.map { Self.version($0, write: writes) }
            switch follower.take(version, at: .uptimeNanoseconds(UInt64(ticks) * 500_000_000)) {
            case .nothing: return "nothing"
            case .use(_, let weakenings): return "use" + weakenings.map { ": \($0)" }.joined()
            case .refuse(let problem): return "refuse: \(problem)"
            }
        }

        static func version(_ yaml: String, write: UInt) -> WebConfigurationVersion {
            var status = stat()
            status.st_ino = write
            let reading = WebFiles.Reading(contents: .success(Array(yaml.utf8)), stamp: FileStamp(status))
            let files = WebFiles(readings: [WebConfigurationFollowerTests.path: reading])
            do throws(ConfigurationErrors) {
                let text = try WebConfigurationText(yaml: Array(yaml.utf8), file: WebConfigurationFollowerTests.path)
                let contents = WebConfigurationVersion.Contents(
                    configuration: text.configuration, tls: nil, isBlank: text.isBlank, warnings: [])
                return WebConfigurationVersion(files: files, result: .success(contents))
            } catch {
                return WebConfigurationVersion(files: files, result: .failure(error))
            }
        }
    }

    @Test func aGoodChangeHoldsAtOnce() throws {
        let scene = try Scene(Self.users)
        #expect(scene.look(nil) == "nothing")
        #expect(scene.look(Self.users + "rate_limit: { interval: 1s, burst: 5 }\n") == "use")
        #expect(scene.look(nil) == "nothing")
    }

    @Test(arguments: ["", "# basic_auth_users: {}\n", "---\n"])
    func anEmptiedFileIsRefusedOnceAndNeverHolds(_ yaml: String) throws {
        let scene = try Scene(Self.users)
        #expect(scene.look(yaml) == "nothing")
        #expect(scene.look(nil) == "nothing")
        #expect(scene.look(nil).hasPrefix("refuse: the file is empty"))
        for _ in 0..<10 { #expect(scene.look(nil) == "nothing") }
        #expect(scene.look(yaml) == "nothing", "somebody touched it")
        for _ in 0..<10 { #expect(scene.look(nil) == "nothing") }
        #expect(scene.follower.inForce.configuration.users.count == 2)
    }

    @Test func theRemedyForAnEmptiedFileHelpsWithTLSToo() throws {
        let scene = try Scene(Self.tls + Self.users)
        let answers = [scene.look(""), scene.look(nil), scene.look(nil)]
        #expect(answers[2].hasPrefix("refuse: the file is empty; tls_server_config must stay in it"), "\(answers)")
        let remedied = [scene.look(Self.tls + "basic_auth_users: {}\n"), scene.look(nil), scene.look(nil)]
        #expect(remedied[2] == "use: no password is asked for any more")
    }

    @Test(arguments: ["{}\n", "basic_auth_users: {}\n"])
    func noUsersMustBeSaidAndStandForASecond(_ yaml: String) throws {
        let scene = try Scene(Self.users)
        #expect(scene.look(yaml) == "nothing")
        #expect(scene.look(nil) == "nothing")
        #expect(scene.look(nil) == "use: no password is asked for any more")
        #expect(scene.follower.inForce.configuration.users.isEmpty)
    }

    @Test func aWeakerFileThatIsRewrittenBeforeASecondIsOverNeverHolds() throws {
        let scene = try Scene(Self.users)
        for _ in 0..<100 {
            #expect(scene.look("basic_auth_users: {}\n") == "nothing")
            #expect(scene.look(nil) == "nothing")
            #expect(scene.look("basic_auth_users: { alice: \(Self.hash) }\n") == "nothing")
        }
        #expect(scene.look(Self.users) == "nothing", "it is as it was")
        #expect(scene.look(nil) == "nothing")
        #expect(scene.look(nil) == "nothing")
    }

    @Test func theSameWeakerBytesWrittenAgainBeginTheSecondAgain() throws {
        let scene = try Scene(Self.users)
        for _ in 0..<100 { #expect(scene.look("{}\n") == "nothing") }
    }

    @Test func tlsIsNeitherSwitchedOffNorOn() throws {
        for (before, after, word) in [(Self.tls, Self.users, "off"), (Self.users, Self.tls + Self.users, "on")] {
            let scene = try Scene(before)
            #expect(scene.look(after) == "nothing")
            #expect(scene.look(nil) == "nothing")
            let answer = scene.look(nil)
            #expect(answer.hasPrefix("refuse") && answer.contains("switched \(word)") && answer.contains("restart"))
        }
    }

    @Test func aFileThatIsWrongForAMomentIsntLogged() throws {
        let scene = try Scene(Self.users)
        #expect(scene.look("basic_auth_users: { alice: ") == "nothing")
        #expect(scene.look(nil) == "nothing")
        #expect(scene.look(Self.users) == "nothing")
        #expect(scene.look("basic_auth_users: { alice: ") == "nothing")
        #expect(scene.look(nil) == "nothing")
        #expect(scene.look(nil).hasPrefix("refuse: web.yml:1:"))
    }

    @Test func anErrorThatComesBackIsLoggedAgain() throws {
        let scene = try Scene(Self.users)
        for _ in 0..<3 {
            let answers = [scene.look("nonsense: 1"), scene.look(nil), scene.look(nil)]
            #expect(answers.filter { $0.hasPrefix("refuse") }.count == 1)
            #expect(scene.look(Self.users) == "nothing")
        }
    }

    /// As a writer that rewrites the file in place shows it.
    @Test func noPrefixOfAGoodFileHoldsUnlessItSaysTheSame() throws {
        let more = """
            http_server_config:
              headers:
                Strict-Transport-Security: max-age=31536000
                Content-Security-Policy: default-src 'none'; img-src 'self'
            rate_limit:
              burst: 20
              interval: 10h

            """
        for good in [Self.tls + Self.users, Self.users + Self.tls, Self.users, Self.users + more, more] {
            for count in 0..<good.utf8.count {
                let scene = try Scene(good)
                let prefix = String(decoding: Array(good.utf8.prefix(count)), as: UTF8.self)
                let before = scene.follower.inForce.configuration
                let answer = scene.look(prefix)
                #expect(
                    answer == "nothing" || scene.follower.inForce.configuration == before,
                    "\(count) bytes")
            }
        }
    }
}
