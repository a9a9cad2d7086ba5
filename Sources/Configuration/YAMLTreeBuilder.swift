/// Makes a tree from libyaml's events and complains about YAML that a configuration may not use.
struct YAMLTreeBuilder {
    /// A list or mapping whose end hasn't come yet.
    private struct OpenCollection {
        let place: FilePlace
        let isMapping: Bool
        var items: [YAMLNode] = []
        var entries: [YAMLEntry] = []
        /// The place of each key, by the key's bytes: as `String`, keys with different bytes may be equal.
        var keyPlaces: [[UInt8]: FilePlace] = [:]
        /// The key whose value comes next; nil when a key comes next.
        var key: PendingKey?
    }

    private struct PendingKey {
        let text: String
        let place: FilePlace
        /// False when the key has a finding: its value is read and dropped.
        let isUsable: Bool
    }

    private(set) var root: YAMLNode?
    private(set) var findings: [Finding] = []
    private var open: [OpenCollection] = []
    private var nodeCount = 0
    private let showsText: Bool

    init(showsText: Bool) {
        self.showsText = showsText
    }

    /// Takes an alias, a scalar, or a start or end of a list or mapping; other events are ignored.
    /// - Throws: `Finding` when the file is over a limit.
    mutating func take(_ event: YAMLEvent) throws(Finding) {
        switch event.kind {
        case .alias(let name):
            try count(event)
            let shown = showsValues ? name : "…"
            report(
                "*\(shown) without quotes is a YAML alias, and none is known here",
                remedy: "put a pattern in quotes, as \"*\(shown)\", or write out the value that is meant",
                at: event.place)
            add(YAMLNode(content: .rejected, place: event.place))
        case .scalar(let text, let isPlain):
            try count(event)
            reportProperties(of: event)
            let isUnclear = event.hasTag || (event.hasAnchor && text.isEmpty)
            let isRejected = reportControlCharacter(in: text, at: event.place) || isUnclear
            add(YAMLNode(content: isRejected ? .rejected : .scalar(text: text, isPlain: isPlain), place: event.place))
        case .sequenceStart, .mappingStart: try openCollection(event)
        case .collectionEnd: closeCollection()
        case .documentStart, .streamEnd, .boundary: break
        }
    }

    /// Complains about a `---` after the first document.
    mutating func rejectSecondDocument(at place: FilePlace) {
        report(
            "a second YAML document begins here", remedy: "write everything in one and remove the line ---", at: place)
    }

    private mutating func count(_ event: YAMLEvent) throws(Finding) {
        nodeCount += 1
        if nodeCount > YAMLDocument.nodeLimit {
            let problem = "the file has more than \(YAMLDocument.nodeLimit) keys and values"
            throw Finding(place: event.place, complaint: Complaint(problem: problem, remedy: "is it the right file?"))
        }
    }

    private mutating func openCollection(_ event: YAMLEvent) throws(Finding) {
        try count(event)
        if open.count == YAMLDocument.depthLimit {
            let problem = "more than \(YAMLDocument.depthLimit) lists and mappings are nested here"
            throw Finding(
                place: event.place, complaint: Complaint(problem: problem, remedy: "remove brackets or indentation"))
        }
        reportProperties(of: event)
        let isMapping = if case .mappingStart = event.kind { true } else { false }
        open.append(OpenCollection(place: event.place, isMapping: isMapping))
    }

    private mutating func closeCollection() {
        guard let closed = open.popLast() else { return }
        let content: YAMLNode.Content = closed.isMapping ? .mapping(closed.entries) : .sequence(closed.items)
        add(YAMLNode(content: content, place: closed.place))
    }

    private mutating func add(_ node: YAMLNode) {
        let innermost = open.count - 1
        guard innermost >= 0 else {
            root = node
            return
        }
        guard open[innermost].isMapping else {
            open[innermost].items.append(node)
            return
        }
        guard let key = open[innermost].key else {
            open[innermost].key = takeKey(node)
            return
        }
        if key.isUsable {
            open[innermost].entries.append(YAMLEntry(key: key.text, keyPlace: key.place, value: node))
        }
        open[innermost].key = nil
    }

    /// Takes a node as a key. Complains if it can't be a key.
    private mutating func takeKey(_ node: YAMLNode) -> PendingKey {
        switch node.content {
        case .rejected: return PendingKey(text: "", place: node.place, isUsable: false)
        case .sequence, .mapping:
            report("a list or mapping can't be a key", remedy: "write a name, a colon and a space", at: node.place)
            return PendingKey(text: "", place: node.place, isUsable: false)
        case .scalar(let text, let isPlain):
            let bytes = Array(text.utf8)
            if isPlain, text == "<<" {
                report(
                    "<< is a YAML merge key, and none is known here", remedy: "write out the keys that are meant",
                    at: node.place, key: text)
            } else if let first = open[open.count - 1].keyPlaces[bytes] {
                let problem = "is already set at \(first.text)"
                report(problem, remedy: "remove one of the two", at: node.place, key: text)
            } else {
                open[open.count - 1].keyPlaces[bytes] = node.place
                return PendingKey(text: text, place: node.place, isUsable: true)
            }
            return PendingKey(text: text, place: node.place, isUsable: false)
        }
    }

    private mutating func reportProperties(of event: YAMLEvent) {
        if event.hasAnchor {
            report(
                "a value that begins with & has a YAML anchor, and none is known here",
                remedy: "remove the anchor, or put the value in quotes", at: event.place)
        }
        if event.hasTag {
            report(
                "a value that begins with ! has a YAML tag, and none is known here",
                remedy: "remove the tag, or put the value in quotes", at: event.place)
        }
    }

    /// Escapes in double quotes can make any character. No setting needs those that control a terminal.
    private mutating func reportControlCharacter(in text: String, at place: FilePlace) -> Bool {
        let isControl = { (scalar: Unicode.Scalar) in scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) }
        guard text.unicodeScalars.contains(where: { $0 != "\n" && isControl($0) }) else { return false }
        let shown = showsValues ? quoted(text) : "the text"
        report("\(shown) holds a control character", remedy: "remove it", at: place)
        return true
    }

    /// Whether messages may repeat values here. Arguments of programs may be secret.
    private var showsValues: Bool { showsText && !open.contains { $0.key?.text == "run" } }

    private mutating func report(_ problem: String, remedy: String, at place: FilePlace, key: String? = nil) {
        let reported = key.map { extended(path, by: $0) } ?? path
        findings.append(Finding(place: place, path: reported, complaint: Complaint(problem: problem, remedy: remedy)))
    }

    /// The path of the value that comes next.
    private var path: SettingPath {
        open.reduce(.root) { path, collection in
            guard collection.isMapping else { return path.item(collection.items.count) }
            return collection.key.map { extended(path, by: $0.text) } ?? path
        }
    }

    /// In a file with secrets, keys further down may be names of users.
    private func extended(_ path: SettingPath, by key: String) -> SettingPath {
        if showsText { return path.key(key) }
        return path == .root ? path.word(key) : path
    }
}
