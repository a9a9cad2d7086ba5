import Accounting
import Reports

/// How many applications are on the page; `netusage apps` has all.
private let maximumApplications = 10

/// What ate the cap: the largest applications of today and of the month, with the local network beside the internet.
func applicationSection(_ content: PageContent) -> HTML {
    let (today, month) = (content.applicationsToday.applications, content.applicationsOfMonth.applications)
    if month.isEmpty { return "" }
    let hasTunnels = month.contains { $0.bytes[.tunnel] != nil }
    let tunnel: HTML = hasTunnels ? "<span class=\"tunnel\">through a tunnel</span>" : ""
    return """
        <section data-part="applications"><h2>Applications</h2>
        <p class="key"><span class="internet">internet</span><span class="lan">local network</span>\(tunnel)</p>
        <div class="pair">
        \(list("Today", today, content.applicationsToday, command: "apps"))
        \(list("This month", month, content.applicationsOfMonth, command: "month --by application"))
        </div></section>
        """
}

private func list(_ title: String, _ uses: [ApplicationUse], _ report: UsageReport, command: String) -> HTML {
    let shown = uses.prefix(maximumApplications)
    let largest = max(1, shown.map(\.total).max() ?? 1)
    let rows = shown.map { row($0, largest) }
    var notes: [HTML] = []
    if uses.count > shown.count { notes.append("and \(uses.count - shown.count) more: see netusage \(command)") }
    if let rest = report.unattributed?.totalBytes, rest != 0 {
        notes.append(
            rest < 0
                ? "\(sizeText(rest.magnitude)) more than the uplink carried: over other devices, or counted for a container and for what carries its bytes"
                : "\(sizeText(rest.magnitude)) of the uplink belong to no application here")
    }
    let note: HTML = notes.isEmpty ? "" : "<p class=\"quiet\">\(notes.joined(separator: "; "))</p>"
    let body: HTML =
        rows.isEmpty
        ? "<p class=\"quiet\">nothing yet</p>"
        : "<table aria-label=\"\(title) by application\">\(rows.joined())</table>"
    return "<div><h3>\(title)</h3>\(body)\(note)</div>"
}

private func row(_ use: ApplicationUse, _ largest: UInt64) -> HTML {
    var x = 0.0
    var parts: [HTML] = []
    var words: [String] = []
    for scope in TrafficScope.allCases {
        guard let bytes = use.bytes[scope], bytes > 0 else { continue }
        let width = Double(bytes) / Double(largest) * 100
        parts.append(
            "<rect class=\"\(scope.rawValue)\" x=\"\(decimalText(x))\" width=\"\(decimalText(width))\" height=\"10\"/>")
        words.append("\(sizeText(bytes)) \(word(scope))")
        x += width
    }
    return """
        <tr><td class="text"><a href="?application=\(percentEncoded(use.name))">\(use.name)</a></td>\
        <td class="bar"><svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="\(words.joined(separator: ", "))"><title>\(words.joined(separator: ", "))</title>\(parts.joined())</svg></td>\
        <td><data value="\(use.total)">\(sizeText(use.total))</data></td></tr>

        """
}

private func word(_ scope: TrafficScope) -> String {
    switch scope {
    case .internet: "internet"
    case .lan: "local network"
    case .tunnel: "through a tunnel"
    }
}
