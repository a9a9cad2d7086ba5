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
            report(.alias(showsValues ? name : "…"), at: event.place)
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
        findings.append(Finding(at: place, .secondDocument))
    }

    private mutating func count(_ event: YAMLEvent) throws(Finding) {
        nodeCount += 1
        if nodeCount > YAMLDocument.nodeLimit { throw Finding(at: event.place, .tooManyNodes) }
    }

    private mutating func openCollection(_ event: YAMLEvent) throws(Finding) {
        try count(event)
        if open.count == YAMLDocument.depthLimit { throw Finding(at: event.place, .tooDeep) }
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
            report(.keyIsNoText, at: node.place)
            return PendingKey(text: "", place: node.place, isUsable: false)
        case .scalar(let text, let isPlain):
            var complaint: Complaint?
            if isPlain, text == "<<" {
                complaint = .mergeKey
            } else if let first = open[open.count - 1].keyPlaces.updateValue(node.place, forKey: Array(text.utf8)) {
                open[open.count - 1].keyPlaces[Array(text.utf8)] = first
                complaint = .duplicateKey(first: first)
            }
            if let complaint { findings.append(Finding(at: node.place, extended(path, by: text), complaint)) }
            return PendingKey(text: text, place: node.place, isUsable: complaint == nil)
        }
    }

    private mutating func reportProperties(of event: YAMLEvent) {
        if event.hasAnchor { report(.anchor, at: event.place) }
        if event.hasTag { report(.tag, at: event.place) }
    }

    /// Escapes in double quotes can make any character. No setting needs those that control a terminal.
    private mutating func reportControlCharacter(in text: String, at place: FilePlace) -> Bool {
        let isControl = { (scalar: Unicode.Scalar) in scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) }
        guard text.unicodeScalars.contains(where: { $0 != "\n" && isControl($0) }) else { return false }
        report(.controlCharacter(in: showsValues ? quoted(text) : "the text"), at: place)
        return true
    }

    /// Whether messages may repeat values here. Arguments of programs may be secret.
    private var showsValues: Bool { showsText && !open.contains { $0.key?.text == "run" } }

    private mutating func report(_ complaint: Complaint, at place: FilePlace) {
        findings.append(Finding(at: place, path, complaint))
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

extension Complaint {
    fileprivate static func alias(_ name: String) -> Complaint {
        Complaint(
            problem: "*\(name) without quotes is a YAML alias, and none is known here",
            remedy: "put a pattern in quotes, as \"*\(name)\", or write out the value that is meant")
    }

    fileprivate static let anchor = Complaint(
        problem: "a value that begins with & has a YAML anchor, and none is known here",
        remedy: "remove the anchor, or put the value in quotes")

    fileprivate static let tag = Complaint(
        problem: "a value that begins with ! has a YAML tag, and none is known here",
        remedy: "remove the tag, or put the value in quotes")

    fileprivate static let mergeKey = Complaint(
        problem: "<< is a YAML merge key, and none is known here", remedy: "write out the keys that are meant")

    fileprivate static let keyIsNoText = Complaint(
        problem: "a list or mapping can't be a key", remedy: "write a name, a colon and a space")

    fileprivate static func duplicateKey(first: FilePlace) -> Complaint {
        Complaint(
            problem: "is already set at line \(first.line), column \(first.column)",
            remedy: "remove one of the two")
    }

    fileprivate static func controlCharacter(in text: String) -> Complaint {
        Complaint(problem: "\(text) holds a control character", remedy: "remove it")
    }

    fileprivate static let secondDocument = Complaint(
        problem: "a second YAML document begins here", remedy: "write everything in one and remove the line ---")

    fileprivate static let tooDeep = Complaint(
        problem: "more than \(YAMLDocument.depthLimit) lists and mappings are nested here",
        remedy: "remove brackets or indentation")

    fileprivate static let tooManyNodes = Complaint(
        problem: "the file has more than \(YAMLDocument.nodeLimit) keys and values", remedy: "is it the right file?")
}
