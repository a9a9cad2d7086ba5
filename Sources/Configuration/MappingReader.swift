/// Reads the keys of one mapping, each with its type and default, and collects what is wrong with them.
///
/// Ask for each key there can be; what then hasn't been asked for is an unknown key. A value that is wrong counts as
/// the default, so that reading goes on: look at `findings` before using anything.
struct MappingReader {
    private(set) var findings: [Finding] = []
    private let path: SettingPath
    private let entries: [YAMLEntry]
    private var knownKeys: [String] = []

    /// Nothing and null count as an empty mapping, anything else that isn't one is a finding.
    init(_ node: YAMLNode?, path: SettingPath) {
        self.path = path
        guard let node, !node.isNull else {
            entries = []
            return
        }
        switch node.content {
        case .mapping(let entries): self.entries = entries
        case .rejected: entries = []
        case .scalar(let text, isPlain: _):
            entries = []
            findings = [Finding(at: node.place, path, .notAMapping(quoted(text) + " stands here"))]
        case .sequence:
            entries = []
            findings = [Finding(at: node.place, path, .notAMapping("a list stands here"))]
        }
    }

    /// A key with one value.
    mutating func value<Value>(
        _ key: String, _ decode: (YAMLNode) throws(Complaint) -> Value, default fallback: Value
    ) -> Value {
        guard let node = node(of: key) else { return fallback }
        return read(node, path.key(key), decode) ?? fallback
    }

    /// A key with further keys under it; what they are when the key isn't there is the defaults of these.
    mutating func mapping<Value>(_ key: String, _ decode: (inout MappingReader) -> Value) -> Value {
        var reader = MappingReader(node(of: key), path: path.key(key))
        let value = decode(&reader)
        reader.rejectUnknownKeys()
        findings += reader.findings
        return value
    }

    /// A key with a list in which nothing stands twice.
    mutating func list<Item: Hashable>(
        _ key: String, _ decode: (YAMLNode) throws(Complaint) -> Item, limit: Int, default fallback: [Item]
    ) -> [Item] {
        guard let node = node(of: key),
            let nodes = read(node, path.key(key), { node throws(Complaint) in try node.items(limit: limit) })
        else { return fallback }
        var places: [Item: FilePlace] = [:]
        var items: [Item] = []
        for (index, node) in nodes.enumerated() {
            let itemPath = path.key(key).item(index)
            guard let item = read(node, itemPath, decode) else { continue }
            if let first = places[item] {
                findings.append(Finding(at: node.place, itemPath, .duplicateItem(first: first)))
            } else {
                places[item] = node.place
                items.append(item)
            }
        }
        return items
    }

    /// A key whose own keys are names of the owner's choice, each with one value, in the order of the file.
    mutating func names<Value>(
        _ key: String, _ decode: (YAMLNode) throws(Complaint) -> Value
    ) -> [(name: String, value: Value)] {
        var reader = MappingReader(node(of: key), path: path.key(key))
        let values = reader.entries.compactMap { entry in
            reader.read(entry.value, path.key(key).key(entry.key), decode).map { (entry.key, $0) }
        }
        findings += reader.findings
        return values
    }

    /// Complains about keys that haven't been asked for; to be called once, after all others.
    mutating func rejectUnknownKeys() {
        for entry in entries where !knownKeys.contains(where: { $0.utf8.elementsEqual(entry.key.utf8) }) {
            let complaint = Complaint.unknownKey(entry.key, known: knownKeys)
            findings.append(Finding(at: entry.keyPlace, path.key(entry.key), complaint))
        }
    }

    private mutating func node(of key: String) -> YAMLNode? {
        knownKeys.append(key)
        return entries.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    }

    /// The decoded value; nil, after complaining, when it is wrong.
    private mutating func read<Value>(
        _ node: YAMLNode, _ path: SettingPath, _ decode: (YAMLNode) throws(Complaint) -> Value
    ) -> Value? {
        if case .rejected = node.content { return nil }
        do throws(Complaint) {
            return try decode(node)
        } catch {
            findings.append(Finding(at: node.place, path, error))
            return nil
        }
    }
}

extension YAMLNode {
    /// The items of a list.
    fileprivate func items(limit: Int) throws(Complaint) -> [YAMLNode] {
        switch content {
        case .rejected: return []
        case .mapping: throw Complaint(problem: "this is a mapping, not a list", remedy: "write a list, as [lo, wg0]")
        case .scalar(let text, isPlain: _):
            guard isNull else {
                throw Complaint(problem: "\(quoted(text)) is not a list", remedy: "write a list, as [\(quoted(text))]")
            }
            throw Complaint(problem: "has no value", remedy: "write [] for an empty list, or leave it out")
        case .sequence(let items):
            guard items.count <= limit else {
                throw Complaint(
                    problem: "the list has \(items.count) items, more than the \(limit) allowed", remedy: "shorten it")
            }
            return items
        }
    }
}

extension Complaint {
    fileprivate static func notAMapping(_ problem: String) -> Complaint {
        Complaint(
            problem: "\(problem), where keys and values should", remedy: "write a name, a colon, a space and the value")
    }

    fileprivate static func duplicateItem(first: FilePlace) -> Complaint {
        Complaint(
            problem: "is the same as the item at line \(first.line), column \(first.column)",
            remedy: "remove one of the two")
    }

    fileprivate static func unknownKey(_ key: String, known: [String]) -> Complaint {
        if let nearest = nearestName(to: key, among: known) {
            return Complaint(problem: "is not a known key", remedy: "did you mean \(nearest)?")
        }
        return Complaint(problem: "is not a known key", remedy: "known here are \(known.joined(separator: ", "))")
    }
}
