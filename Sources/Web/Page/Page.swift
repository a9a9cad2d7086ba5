import NIOCore
import Reports

/// The whole page at `/`, with all its figures. It needs no script, and loads nothing from elsewhere.
struct Page {
    let content: PageContent
    /// Marks the page's own style and script as allowed.
    let nonce: String

    /// How many devices and quotas are on the page; `/metrics` has all.
    private static let maximumDevices = 24
    private static let maximumQuotas = 12

    static func answer(of subject: PageSubject, _ questions: any LiveQuestions, telemetryPath: String) async
        -> HTTPAnswer
    {
        let nonce =
            String(UInt64.random(in: .min ... .max), radix: 16) + String(UInt64.random(in: .min ... .max), radix: 16)
        let page = Page(content: await PageContent(of: subject, questions, telemetryPath: telemetryPath), nonce: nonce)
        let headers = [
            ("Cache-Control", "no-store"), ("Content-Security-Policy", securityPolicy(nonce: nonce)),
            ("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY"), ("Vary", "Accept-Encoding"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ]
        return HTTPAnswer("text/html; charset=utf-8", .bytes(ByteBuffer(string: page.html.markup)), headers)
    }

    /// What a browser may do with the page: show it, and ask this server.
    private static func securityPolicy(nonce: String) -> String {
        "default-src 'none'; style-src 'nonce-\(nonce)'; script-src 'nonce-\(nonce)'; connect-src 'self'; base-uri 'none'; "
            + "form-action 'none'; frame-ancestors 'none'"
    }

    var html: HTML {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <title>netusage on \(content.host)</title>
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <style nonce="\(nonce)">
        \(resource: PackageResources.page_css)</style>
        </head>
        <body data-watched="\(content.watched?.key ?? "")">
        \(header)
        <main>
        \(problems)\(navigation)
        \(tiles)
        \(quotas)
        \(applicationSection(content))
        \(daysChart(content.days))
        \(hoursChart(content.hours))
        \(devices)
        </main>
        \(footer)
        <script nonce="\(nonce)">
        \(resource: PackageResources.page_js)</script>
        </body>
        </html>

        """
    }

    // MARK: - Around

    private var header: HTML {
        let (word, live) = (content.live.online ? "online" : "offline", content.live)
        let device = live.accounts.first { $0.uplink && $0.kind == "device" }?.name
        let asOf = secondText(live.asOf)
        let by: HTML = device.map { " by \($0)" } ?? ""
        return """
            <header>
            <h1>netusage <small class="quiet">on \(content.host)</small></h1>
            <span><span id="online" class="\(word)">\(word)</span>\(by)</span>
            <span class="state"><span id="live" role="status">as it was</span> at <time id="as-of">\(asOf)</time></span>
            </header>
            """
    }

    private var problems: HTML {
        content.problems.map { "<p class=\"note\">\($0)</p>\n" as HTML }.joined()
    }

    /// One link for each account on the page.
    private var navigation: HTML {
        let links = shownAccounts.map { account -> HTML in
            let address = account.kind == "uplink" ? "." : "?device=\(percentEncoded(account.name))"
            let current: HTML = account.key == content.watched?.key ? " aria-current=\"page\"" : ""
            return "<a href=\"\(address)\"\(current)>\(account.name)</a>"
        }
        let application = content.watched.flatMap { watched -> HTML? in
            watched.kind == "application"
                ? "<a href=\"?application=\(percentEncoded(watched.name))\" aria-current=\"page\">\(watched.name)</a>"
                : nil
        }
        let all = links + [application].compactMap { $0 }
        return "<nav aria-label=\"Devices\">\(all.joined(separator: "\n"))</nav>"
    }

    private var footer: HTML {
        """
        <footer><span>netusage \(content.version)</span> <a href="\(String(content.telemetryPath.drop { $0 == "/" }))">Metrics</a>
        <a href="api/v1/usage?grain=day&amp;last=31">Last 31 days as JSON</a> <a href="api/v1/export">All days as CSV</a>
        <a href="-/healthy">Health</a></footer>
        """
    }

    // MARK: - Now

    private var tiles: HTML {
        guard let watched = content.watched else { return "<section><p>Nothing was metered yet.</p></section>" }
        let key = watched.key
        let live = content.live.accounts.first { $0.key == key }
        func rate(_ field: String, _ bytesPerSecond: Double?) -> HTML {
            let text = bytesPerSecond.map { rateText($0, inBits: false) } ?? "gone"
            return "<span data-account=\"\(key)\" data-field=\"\(field)\">\(text)</span>"
        }
        func rateTile(_ title: String, _ colour: String, _ field: String, _ now: Double?, _ peak: Double?) -> HTML {
            """
            <div class="tile"><h2>\(title)</h2><strong class="\(colour)">\(rate(field, now))</strong>
            <p>peak \(rate("\(field)-peak", peak))</p>
            <svg class="spark" data-spark="\(field)" viewBox="0 0 59 20" preserveAspectRatio="none" aria-hidden="true"><polyline class="curve \(colour)" points=""/></svg></div>
            """
        }
        let today = content.watchedToday
        // Of an application only sums are known.
        let rates: HTML =
            watched.kind == "application"
            ? ""
            : """
            \(rateTile("Receiving", "received", "receive", live?.receiveBytesPerSecond, live?.receivePeakBytesPerSecond))
            \(rateTile("Transmitting", "transmitted", "transmit", live?.transmitBytesPerSecond, live?.transmitPeakBytesPerSecond))

            """
        return """
            <section class="tiles" aria-label="Now">
            \(rates)<div class="tile" data-part="today">\(sumBody("Today", "today", key, today?.receivedBytes ?? 0, today?.transmittedBytes ?? 0, today?.totalBytes ?? 0))</div>
            <div class="tile" data-part="month">\(sumBody("This month", nil, key, watched.receivedBytes, watched.transmittedBytes, watched.totalBytes))</div>
            <div class="tile" data-part="lifetime">\(sumBody("In all", nil, key, content.lifetime?.received ?? 0, content.lifetime?.transmitted ?? 0, content.lifetime?.bytes ?? 0))</div>
            </section>
            """
    }

    /// - Parameter field: Its field in live events, if they have it.
    private func sumBody(
        _ title: String, _ field: String?, _ key: String, _ received: UInt64, _ transmitted: UInt64, _ total: UInt64
    ) -> HTML {
        func data(_ suffix: String, _ bytes: UInt64) -> HTML {
            let live: HTML =
                field.map { " data-account=\"\(key)\" data-field=\"\($0)\(suffix)\"" }
                ?? following(key, "today\(suffix)", bytes)
            return "<data value=\"\(bytes)\"\(live)>\(sizeText(bytes))</data>"
        }
        return """
            <h2>\(title)</h2><strong>\(data("", total))</strong>
            <p><span>\(data("-received", received)) in,</span> <span>\(data("-transmitted", transmitted)) out</span></p>
            """
    }

    /// Attributes by which a sum grows as today's sum does, with the current values of both.
    private func following(_ key: String, _ field: String, _ bytes: UInt64) -> HTML {
        let account = content.today.accounts.first { $0.key == key }
        let today =
            switch field {
            case "today-received": account?.receivedBytes
            case "today-transmitted": account?.transmittedBytes
            default: account?.totalBytes
            }
        return
            " data-account=\"\(key)\" data-follows=\"\(field)\" data-base=\"\(bytes)\" data-today=\"\(today ?? 0)\""
    }

    // MARK: - Quotas

    private var quotas: HTML {
        if content.plans.quotas.isEmpty { return "" }
        let shown = content.plans.quotas.prefix(Self.maximumQuotas)
        let rest = content.plans.quotas.count - shown.count
        let more: HTML = rest > 0 ? "<p class=\"quiet\">and \(rest) more: see netusage quota</p>" : ""
        return
            "<section data-part=\"quotas\"><h2>Quotas</h2>\n\(shown.map(quota).joined(separator: "\n"))\(more)</section>"
    }

    private func quota(_ quota: QuotaReport) -> HTML {
        let heading: HTML = """
            <div class="quota"><h3>\(quota.name) <small class="quiet">\(quota.plan.count.joined(separator: ", ")), \(quota.plan.direction), \(quota.cycle.text)</small>
            """
        let problem: HTML = quota.plan.problem.map { "<p class=\"warn\">\($0)</p>" } ?? ""
        guard let used = quota.use.usedBytes else {
            return "\(heading)<span class=\"warn\">not known</span></h3>\(problem)</div>"
        }
        let share = Double(used) / Double(quota.use.limitBytes)
        let word = quota.conditionText
        let colour =
            switch quota.condition.severity {
            case .ok: "ok"
            case .warning, .unknown: "warn"
            case .critical: "breach"
            }
        var facts: [(name: String, value: HTML)] = [
            ("Used", "\(sum(used)) of \(sum(quota.use.limitBytes))"), ("Left", sum(quota.use.leftBytes ?? 0)),
            ("Cycle", "\(dateText(quota.cycle.start)) to \(dateText(quota.cycle.end))"),
        ]
        if let projected = quota.outlook.projectedBytes { facts.append(("Projected", sum(projected))) }
        if quota.cycle.secondsLeft > 0, let safePerDay = quota.outlook.safePerDayBytes {
            facts.append(("Safe per day", sum(safePerDay)))
        }
        if let exhaustion = quota.outlook.exhaustion { facts.append(("Reaches limit", "\(minuteText(exhaustion))")) }
        if let cost = quota.outlook.cost { facts.append(("Cost", "\(cost.amount) \(cost.currency)")) }
        let projection = quota.outlook.projectedBytes.map { projected -> HTML in
            let x = decimalText(min(Double(projected) / Double(quota.use.limitBytes), 1) * 100)
            return
                "<line class=\"mark\" x1=\"\(x)\" x2=\"\(x)\" y1=\"0\" y2=\"10\"><title>projected: \(sizeText(projected))</title></line>"
        }
        let percent = decimalText(min(share, 999.999) * 100, decimals: 1)
        let bar: HTML = """

            <span class="\(colour)">\(percent) %, \(word)</span></h3>
            <svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="\(percent) % used\(quota.outlook.projectedBytes.map { ", \(sizeText($0)) projected" } ?? "")"><rect class="track" width="100" height="10"/><rect class="\(colour)" width="\(decimalText(min(share, 1) * 100))" height="10"/>\(projection ?? "")</svg>
            \(problem)<dl>\(facts.map { "<div><dt>\($0)</dt><dd>\($1)</dd></div>" as HTML }.joined())</dl></div>
            """
        return heading + bar
    }

    private func sum(_ bytes: UInt64) -> HTML { "<data value=\"\(bytes)\">\(sizeText(bytes))</data>" }

    // MARK: - Devices

    /// The uplink and the devices on the page, in the report's order. If there are too many, live ones with bytes this
    /// month come before gone ones, and those before the rest.
    private var shownAccounts: [UsageReport.Account] {
        let live = Set(content.live.accounts.map(\.key))
        let largest = content.month.accounts.filter { $0.kind != "uplink" }.sorted { $0.totalBytes > $1.totalBytes }
        let (here, gone) = (largest.filter { live.contains($0.key) }, largest.filter { !live.contains($0.key) })
        let sorted = here.filter { $0.totalBytes > 0 } + gone + here.filter { $0.totalBytes == 0 }
        let chosen = Set(sorted.prefix(Self.maximumDevices).map(\.key))
        return content.month.accounts.filter { $0.kind == "uplink" || chosen.contains($0.key) }
    }

    private var devices: HTML {
        let rows = shownAccounts.filter { $0.kind != "uplink" }.map(deviceRow)
        if rows.isEmpty { return "" }
        let rest = content.month.accounts.count { $0.kind != "uplink" } - rows.count
        let more: HTML = rest > 0 ? "<p class=\"quiet\">and \(rest) more: see netusage month</p>" : ""
        return """
            <section data-part="devices"><h2>Devices</h2><div class="scroll" tabindex="0" role="region" aria-label="Devices"><table aria-label="Devices">
            <thead><tr><th scope="col">Device</th><th scope="col" class="text">State</th><th scope="col">Receiving</th><th scope="col">Transmitting</th><th scope="col">Today</th><th scope="col">This month</th><th scope="col" class="text">Addresses</th></tr></thead>
            <tbody>
            \(rows.joined(separator: "\n"))
            </tbody></table></div>\(more)</section>
            """
    }

    private func deviceRow(_ account: UsageReport.Account) -> HTML {
        let key = account.key
        let live = content.live.accounts.first { $0.key == key }
        func cell(_ field: String, _ text: String?) -> HTML {
            text.map { "<td><span data-account=\"\(key)\" data-field=\"\(field)\">\($0)</span></td>" } ?? "<td></td>"
        }
        let today: HTML? = content.today.accounts.first { $0.key == key }.map {
            "<data value=\"\($0.totalBytes)\" data-account=\"\(key)\" data-field=\"today\">\(sizeText($0.totalBytes))</data>"
        }
        let link = live.flatMap(\.link).map { "\($0), " } ?? ""
        let state: HTML =
            live.map {
                "\(link)<span data-account=\"\(key)\" data-field=\"state\">\($0.up ? "up" : "down")</span>\($0.uplink ? ", uplink" : "")"
            } ?? "gone"
        return """
            <tr><td><a href="?device=\(percentEncoded(account.name))">\(account.name)</a></td><td class="text">\(state)</td>\(cell("receive", live.map { rateText($0.receiveBytesPerSecond, inBits: false) }))\(cell("transmit", live.map { rateText($0.transmitBytesPerSecond, inBits: false) }))<td>\(today ?? "")</td><td><data value="\(account.totalBytes)"\(following(key, "today", account.totalBytes))>\(sizeText(account.totalBytes))</data></td><td class="text">\(live?.addresses.joined(separator: ", ") ?? "")</td></tr>
            """
    }
}

// MARK: - Text

extension UsageReport.Account {
    /// What distinguishes it from other accounts, as the page's script makes it too.
    fileprivate var key: String { "\(kind):\(name)" }
}

extension LiveReport.Account {
    fileprivate var key: String { "\(kind):\(name)" }
}

/// A text as a value in an address.
func percentEncoded(_ text: String) -> String {
    text.utf8.map { byte in
        let isPlain = (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7A || (0x30...0x39).contains(byte) || byte == 0x2D
        if isPlain { return String(Unicode.Scalar(byte)) }
        return "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
    }.joined()
}
