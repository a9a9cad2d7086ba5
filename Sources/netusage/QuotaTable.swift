import Exporter
import Reports

/// Quotas for people: a bar and figures for each.
struct QuotaTable {
    let terminal: Terminal

    func text(_ report: PlansReport) -> String {
        let since = report.meteredUntil.map { "Metered until \(minuteText($0))" } ?? "Nothing was metered yet"
        let note = report.note.map { terminal.note("\(since): \($0).", isStale: report.isStale) + "\n\n" } ?? ""
        let blocks = report.quotas.map(block) + report.committedRates.map(block) + report.rateLimits.map(block)
        return note + blocks.map { $0.joined(separator: "\n") + "\n" }.joined(separator: "\n")
    }

    private func block(_ quota: QuotaReport) -> [String] {
        let problem = quota.plan.problem.map { [terminal.coloured("  " + Terminal.printable($0), .yellow)] } ?? []
        return [headline(quota)] + bar(quota) + problem + pairs(quota)
    }

    // MARK: - The first line

    private func headline(_ quota: QuotaReport) -> String {
        let isAhead = quota.cycle.secondsAhead > 0
        let left = isAhead ? "begins \(quota.cycle.start.date)" : timeLeft(quota.cycle.secondsLeft)
        let when = "\(quota.cycle.text), \(left)"
        let isTooLong = width(when) + width(quota.name) + 2 > terminal.columns
        return headline(quota.name, quota.plan.count, quota.plan.direction, when: isTooLong ? left : when)
    }

    private func headline(_ name: String, _ count: [String], _ direction: String, when: String) -> String {
        let what = Terminal.printable("\(count.joined(separator: ", ")), \(direction)")
        let name = terminal.clipped(Terminal.printable(name), to: max(8, terminal.columns - width(when) - 2))
        let room = terminal.columns - width(name) - width(when)
        let middle = room >= width(what) + 4 ? "  \(what)" : ""
        let gap = String(repeating: " ", count: max(2, room - width(middle)))
        return terminal.bold(name) + terminal.dim(middle) + gap + when
    }

    /// Rounded to a useful unit.
    private func timeLeft(_ seconds: Int64) -> String {
        switch seconds {
        case ..<1: "ended"
        case ..<3600: counted((seconds + 59) / 60, "minute") + " left"
        case ..<172_800: counted((seconds + 1800) / 3600, "hour") + " left"
        default: counted((min(seconds, 1 << 40) + 43_200) / 86_400, "day") + " left"
        }
    }

    private func counted(_ count: Int64, _ unit: String) -> String { "\(count) \(unit)\(count == 1 ? "" : "s")" }

    // MARK: - Rates

    private func block(_ rate: CommittedRateReport) -> [String] {
        let (open, burst) = (rate.open, rate.burstRemainingSeconds)
        var entries = [
            ("95th percentile", bitsText(open.p95BytesPerSecond)), ("bought", bitsText(open.limitBytesPerSecond)),
            ("burst left", "\(burst / 3600) h \(burst % 3600 / 60) min"),
            ("samples", "\(open.samples), \(open.missing) missing"),
            ("cycle", "\(startText(open.cycleStart)) to \(startText(open.cycleEnd))"),
        ]
        if let last = rate.closed.first { entries.append(("cycle before", bitsText(last.p95BytesPerSecond))) }
        return [headline(rate.name, rate.count, rate.direction, when: "committed rate, \(rate.cycle)")]
            + columns(entries)
    }

    private func block(_ limit: RateLimitReport) -> [String] {
        let word = limit.breached ? "BREACHED" : "ok"
        return [headline(limit.name, limit.count, limit.direction, when: "rate limit, \(word)")]
            + columns([
                (
                    "limit",
                    "\(rateText(limit.limitBytesPerSecond, inBits: false)) for \(decimalText(limit.forSeconds, decimals: 0)) s"
                ),
                ("breaches", "\(limit.breaches)"),
            ])
    }

    // MARK: - The bar

    /// No bar if the used bytes aren't known.
    private func bar(_ quota: QuotaReport) -> [String] {
        guard let used = quota.use.usedBytes else { return [] }
        let share = Double(used) / Double(max(1, quota.use.limitBytes))
        let percent = "\(decimalText(min(share, 999.999) * 100, decimals: 1)) %"
        let word = quota.condition == .breached ? "BREACHED" : quota.conditionText
        let colour: Terminal.Colour =
            switch quota.condition.severity {
            case .ok: .green
            case .warning, .unknown: .yellow
            case .critical: .red
            }
        let length = terminal.columns - 2 - 2 - width(percent) - 2 - width(word)
        let filled = min(share, 1) * Double(length)
        let body = terminal.hasUnicode ? blocks(filled, of: length) : hashes(filled, of: length)
        return [
            "[\(terminal.coloured(body, colour))]  \(percent)  \(terminal.coloured(word, colour))"
        ]
    }

    /// In eighths of a column.
    private func blocks(_ filled: Double, of length: Int) -> String {
        let eighths = Int((filled * 8).rounded(.down))
        let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]
        let whole = String(repeating: "█", count: eighths / 8)
        return whole + part + String(repeating: " ", count: max(0, length - eighths / 8 - (part.isEmpty ? 0 : 1)))
    }

    private func hashes(_ filled: Double, of length: Int) -> String {
        let whole = Int(filled.rounded(.down))
        return String(repeating: "#", count: whole) + String(repeating: ".", count: max(0, length - whole))
    }

    // MARK: - The figures

    private func pairs(_ quota: QuotaReport) -> [String] {
        var entries: [(label: String, value: String)] = []
        func add(_ label: String, _ value: String?) {
            if let value { entries.append((label, value)) }
        }
        let limit = sizeText(quota.use.limitBytes)
        add("used", quota.use.usedBytes.map { "\(sizeText($0)) of \(limit)" })
        if quota.use.usedBytes == nil { add("limit", limit) }
        add("left", quota.use.leftBytes.map { sizeText($0) })
        let isOpen = quota.cycle.secondsAhead == 0 && quota.cycle.secondsLeft > 0
        if isOpen, let safePerDay = quota.outlook.safePerDayBytes {
            add("projected", quota.outlook.projectedBytes.map { sizeText($0) } ?? "not yet known")
            add("safe per day", sizeText(safePerDay))
        }
        add("cycle", "\(startText(quota.cycle.start)) to \(startText(quota.cycle.end))")
        if isOpen { add("limit reached", quota.outlook.exhaustion.map { minuteText($0) }) }
        add("breached", quota.breach.breachedAt.map { minuteText($0) })
        add("cost", quota.outlook.cost.map { "\($0.amount) \($0.currency)" })
        if quota.use.rolloverBytes > 0 { add("rolled over", sizeText(quota.use.rolloverBytes)) }
        if quota.breach.breaches > 0 { add("breaches", "\(quota.breach.breaches)") }
        add("drift", quota.use.driftBytes.map { ($0 < 0 ? "-" : "+") + sizeText($0.magnitude) })
        return columns(entries)
            + quota.use.adjustments.map { "  \($0.kind) \($0.id): \(sizeText($0.bytes)) at \(minuteText($0.at))" }
    }

    /// In two columns if there is room for them. An entry that is too long for its column has a line of its own, or two.
    private func columns(_ entries: [(label: String, value: String)]) -> [String] {
        let perLine = terminal.columns >= 72 ? 2 : 1
        let length = (terminal.columns - 2) / perLine
        var lines: [String] = []
        var left: String?
        for entry in entries {
            let text = padded(entry.label, to: 15) + entry.value
            if width(text) + 2 > terminal.columns {
                lines += [left, entry.label, "  " + entry.value].compactMap { $0 }
                left = nil
                continue
            }
            if let open = left, width(open) < length, width(text) <= length {
                lines.append(padded(open, to: length) + text)
                left = nil
            } else {
                if let open = left { lines.append(open) }
                left = text
            }
            if perLine == 1 || width(text) >= length, let open = left {
                lines.append(open)
                left = nil
            }
        }
        return (lines + [left].compactMap { $0 }).map { "  " + $0 }
    }
}
