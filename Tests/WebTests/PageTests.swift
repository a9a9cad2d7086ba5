import TestSupport
import Testing

@testable import Web

@Suite("The page")
struct PageTests {
    private static func page(_ questions: FakeQuestions, of subject: PageSubject = .uplink) async -> String {
        let content = await PageContent(of: subject, questions, telemetryPath: "/metrics")
        return Page(content: content, nonce: "0123").html.markup
    }

    @Test func textBecomesMarkupOnlyThroughAType() {
        let name = "<b>&\"x\""
        let html: HTML = "<p title=\"\(name)\">\(name) \(3 as UInt64)\(name.prefix(1))</p>"
        #expect(
            html.markup == "<p title=\"&lt;b&gt;&amp;&quot;x&quot;\">&lt;b&gt;&amp;&quot;x&quot; 3&lt;</p>")
        let inside: HTML = "<div>\(html)</div>"
        #expect(inside.markup == "<div>\(html.markup)</div>")
        #expect(([html, html] as [HTML]).joined(separator: "\n").markup == "\(html.markup)\n\(html.markup)")
    }

    /// Whatever a device is called, the page has the same tags in the same order.
    @Test func noNameChangesTheMarkup() async {
        func tags(_ page: String) -> [Substring] {
            page.matches(of: /<\/?[a-z]+/).map(\.0)
        }
        let expected = tags(await Self.page(FakeQuestions()))
        #expect(expected.count > 100)
        var random = SeededGenerator(seed: testSeed)
        for _ in 0..<50 {
            let characters = Array("<>&\"'/=eth0-{}\\ ")
            let name = String((0..<12).map { _ in characters.randomElement(using: &random) ?? "x" })
            let page = await Self.page(FakeQuestions(device: "a" + name, alias: name))
            #expect(tags(page) == expected, "\(name), seed \(testSeed)")
        }
    }

    /// An ordinary household has nothing to escape, so escaped markup would be a mistake of ours.
    @Test func noMarkupIsShownAsText() async {
        let page = await Self.page(FakeQuestions())
        let body = page.split(separator: "<script").first ?? ""
        #expect(!body.contains("&lt;") && !body.contains("&quot;"))
        #expect(page.contains("netusage 1.2.3") && page.contains("<dt>Used</dt>") && page.contains("href=\"metrics\""))
    }

    @Test func whatIsWrongIsSaid() async {
        let broken: [(FakeQuestions, String)] = [
            (FakeQuestions(isLedgerUp: false), "The ledger can't be written now"),
            (FakeQuestions(isKernelReadable: false), "The kernel's counters can't be read now"),
            (FakeQuestions(isConfigurationGood: false), "The configuration has errors"),
            (FakeQuestions(isOnline: false), "class=\"offline\">offline"),
            (FakeQuestions(hasHistory: false), "Nothing was metered yet."),
        ]
        let good = await Self.page(FakeQuestions())
        for (questions, text) in broken {
            let page = await Self.page(questions)
            #expect(page.contains(text) && !good.contains(text), "\(text)")
        }
    }

    @Test func aDeviceHasAPageOfItsOwn() async {
        let page = await Self.page(FakeQuestions(), of: .device("eth0"))
        #expect(page.contains("data-watched=\"device:eth0\""))
        let unknown = await Self.page(FakeQuestions(), of: .device("wlan9"))
        #expect(unknown.contains("Nothing called wlan9 was metered in this month."))
        #expect(unknown.contains("data-watched=\"uplink:uplink\""))
    }

    @Test func anApplicationHasAPageOfItsOwnWithTheSumOfItsScopes() async {
        let uplink = await Self.page(FakeQuestions(device: "x y"))
        // 11 bytes of the internet, and 11 of the local network.
        #expect(uplink.contains("<a href=\"?application=x%20y\">x y</a>"))
        #expect(uplink.contains("<title>11 B internet, 11 B local network</title>"))
        let page = await Self.page(FakeQuestions(device: "x y"), of: .application("x y"))
        #expect(page.contains("data-watched=\"application:x y\"") && !page.contains("Receiving</h2>"))
        #expect(page.contains("<h2>In all</h2><strong><data value=\"22\""))
        #expect(page.contains(": 20 B received, 2 B transmitted"))
        let unknown = await Self.page(FakeQuestions(), of: .application("nobody"))
        #expect(unknown.contains("No application called nobody carried anything in this month."))
    }
}
