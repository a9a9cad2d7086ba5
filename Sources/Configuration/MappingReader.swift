/// Reads the keys of one mapping, each with its type and default, and collects their errors.
///
/// Ask for each possible key; all other keys are unknown. A wrong value counts as the default so that reading goes on:
/// check `findings` before you use anything.
struct MappingReader {
    private(set) var findings: [Finding] = []
    /// Settings that are allowed but may be mistakes.
    private(set) var notes: [Finding] = []
    private let path: SettingPath
    private let place: FilePlace
    private var entries: [YAMLEntry] = []
    /// Whether there is a value that isn't a mapping. Then missing keys aren't reported.
    private var isSomethingElse = false
    private let showsText: Bool
    private var knownKeys: [String] = []

    /// No node and null count as an empty mapping. Anything else that isn't a mapping is a finding.
    ///
    /// - Parameters:
    ///   - example: An example of the mapping.
    ///   - showsText: Whether messages may repeat texts of the file; false for a file with secrets.
    init(_ node: YAMLNode?, path: SettingPath, example: String? = nil, showsText: Bool = true) {
        self.path = path
        self.showsText = showsText
        place = node?.place ?? .start
        guard let node, !node.isNull else { return }
        let problem: String
        switch node.content {
        case .mapping(let entries):
            self.entries = entries
            return
        case .rejected:
            isSomethingElse = true
            return
        case .scalar(let text, isPlain: _): problem = (showsText ? quoted(text) : "this text") + " is not a mapping"
        case .sequence: problem = "this is a list, not a mapping"
        }
        isSomethingElse = true
        let remedy = example.map { "write keys and values, as \($0)" } ?? "write a name, a colon, a space and the value"
        findings = [Finding(place: place, path: path, complaint: Complaint(problem: problem, remedy: remedy))]
    }

    /// A key with one value.
    mutating func value<Value>(
        _ key: String, _ decode: (YAMLNode) throws(Complaint) -> Value, default fallback: Value
    ) -> Value {
        optional(key, decode) ?? fallback
    }

    /// A key with one value; a missing key is a finding.
    ///
    /// - Parameter remedy: What to write if the key is missing, in words that can follow a semicolon.
    mutating func required<Value>(
        _ key: String, _ decode: (YAMLNode) throws(Complaint) -> Value, remedy: String, default fallback: Value
    ) -> Value {
        if !has(key), !isSomethingElse { complain(about: key, "is missing", remedy: remedy) }
        return optional(key, decode) ?? fallback
    }

    /// A key with one value; `nil` if the key is missing or its value is wrong.
    mutating func optional<Value>(_ key: String, _ decode: (YAMLNode) throws(Complaint) -> Value) -> Value? {
        node(of: key).flatMap { read($0, path.key(key), decode) }
    }

    /// Whether the mapping has a key. This makes the key known.
    mutating func has(_ key: String) -> Bool { node(of: key) != nil }

    /// Whether the mapping has a key without a value.
    mutating func isNull(_ key: String) -> Bool { node(of: key)?.isNull ?? false }

    /// Whether a key has a mapping. This makes the key known.
    mutating func isMapping(_ key: String) -> Bool {
        if case .mapping? = node(of: key)?.content { true } else { false }
    }

    /// Complains about a key's value, or about the mapping if the key is missing.
    mutating func complain(about key: String, _ problem: String, remedy: String) {
        let complaint = Complaint(problem: problem, remedy: remedy)
        findings.append(Finding(place: node(of: key)?.place ?? place, path: path.key(key), complaint: complaint))
    }

    /// Notes something about a key's value, or about one of its items.
    mutating func note(about key: String, item: Int? = nil, _ problem: String, remedy: String) {
        var node = node(of: key)
        var path = path.key(key)
        if let item, case .sequence(let items)? = node?.content, items.indices.contains(item) {
            node = items[item]
            path = path.item(item)
        }
        let complaint = Complaint(problem: problem, remedy: remedy)
        notes.append(Finding(place: node?.place ?? place, path: path, complaint: complaint))
    }

    /// A key with a mapping; `nil` if the key is missing.
    mutating func optionalMapping<Value>(
        _ key: String, example: String, _ decode: (inout MappingReader) -> Value
    ) -> Value? {
        has(key) ? mapping(key, example: example, decode) : nil
    }

    /// A key with a list of mappings.
    mutating func mappings<Value>(_ key: String, limit: Int, _ decode: (inout MappingReader) -> Value) -> [Value] {
        let nodes = optional(key) { node throws(Complaint) in try node.items(limit: limit, example: "- name: …") } ?? []
        return nodes.enumerated().map { index, node in decoded(node, path.key(key).item(index), decode) }
    }

    /// A key with a mapping. If the key is missing, all keys of the mapping have their defaults.
    mutating func mapping<Value>(
        _ key: String, example: String? = nil, _ decode: (inout MappingReader) -> Value
    ) -> Value {
        decoded(node(of: key), path.key(key), example: example, decode)
    }

    private mutating func decoded<Value>(
        _ node: YAMLNode?, _ path: SettingPath, example: String? = nil, _ decode: (inout MappingReader) -> Value
    ) -> Value {
        var reader = MappingReader(node, path: path, example: example, showsText: showsText)
        let value = decode(&reader)
        reader.rejectUnknownKeys()
        findings += reader.findings
        notes += reader.notes
        return value
    }

    /// A key with a list without duplicates.
    mutating func list<Item: Hashable>(
        _ key: String, _ decode: (YAMLNode) throws(Complaint) -> Item, limit: Int, default fallback: [Item]
    ) -> [Item] {
        var places: [Item: FilePlace] = [:]
        let items: [Item]? = sequence(key, limit: limit) { node throws(Complaint) in
            let item = try decode(node)
            if let first = places[item] {
                throw Complaint(problem: "is the same as the item at \(first.text)", remedy: "remove one of the two")
            }
            places[item] = node.place
            return item
        }
        return items ?? fallback
    }

    /// A key with a list; `nil` when there is none. Wrong items are left out.
    ///
    /// - Parameters:
    ///   - example: An example of the list.
    ///   - isSecret: Whether messages must not repeat texts of the list.
    mutating func sequence<Item>(
        _ key: String, limit: Int, example: String = "[lo, wg0]", isSecret: Bool = false,
        _ decode: (YAMLNode) throws(Complaint) -> Item
    ) -> [Item]? {
        let showsText = showsText && !isSecret
        let nodes = optional(key) { node throws(Complaint) in
            try node.items(limit: limit, example: example, showsText: showsText)
        }
        guard let nodes else { return nil }
        return nodes.enumerated().compactMap { index, node in read(node, path.key(key).item(index), decode) }
    }

    /// A key with a mapping from free names to values, in the order of the file.
    mutating func names<Name, Value>(
        _ key: String, _ decodeName: (String) throws(Complaint) -> Name,
        _ decode: (YAMLNode) throws(Complaint) -> Value
    ) -> [(name: Name, value: Value)] {
        var reader = MappingReader(node(of: key), path: path.key(key), showsText: showsText)
        let values = reader.entries.compactMap { entry -> (name: Name, value: Value)? in
            let path = showsText ? path.key(key).key(entry.key) : path.key(key)
            let value = reader.read(entry.value, path, decode)
            do throws(Complaint) {
                let name = try decodeName(entry.key)
                return value.map { (name, $0) }
            } catch {
                reader.findings.append(Finding(place: entry.keyPlace, path: path, complaint: error))
                return nil
            }
        }
        findings += reader.findings
        return values
    }

    /// Complains about keys that nobody has asked for. Call it once, after all other methods.
    mutating func rejectUnknownKeys() {
        for entry in entries where !knownKeys.contains(where: { $0.utf8.elementsEqual(entry.key.utf8) }) {
            let nearest = nearestName(to: entry.key, among: knownKeys).map { "did you mean \($0)?" }
            let complaint = Complaint(
                problem: "is not a known key",
                remedy: nearest ?? "known here are \(knownKeys.joined(separator: ", "))")
            let path = showsText ? path.key(entry.key) : path.word(entry.key)
            findings.append(Finding(place: entry.keyPlace, path: path, complaint: complaint))
        }
    }

    private mutating func node(of key: String) -> YAMLNode? {
        if !knownKeys.contains(key) { knownKeys.append(key) }
        return entries.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    }

    /// The decoded value; nil, with a finding, when it is wrong.
    private mutating func read<Value>(
        _ node: YAMLNode, _ path: SettingPath, _ decode: (YAMLNode) throws(Complaint) -> Value
    ) -> Value? {
        if case .rejected = node.content { return nil }
        do throws(Complaint) {
            return try decode(node)
        } catch {
            findings.append(Finding(place: node.place, path: path, complaint: error))
            return nil
        }
    }
}

extension YAMLNode {
    /// The items of a list.
    fileprivate func items(limit: Int, example: String, showsText: Bool = true) throws(Complaint) -> [YAMLNode] {
        switch content {
        case .rejected: return []
        case .mapping: throw Complaint(problem: "this is a mapping, not a list", remedy: "write a list, as \(example)")
        case .scalar(let text, isPlain: _):
            if isNull {
                throw Complaint(problem: "has no value", remedy: "write [] for an empty list, or leave it out")
            }
            throw Complaint(
                problem: showsText ? "\(quoted(text)) is not a list" : "is not a list",
                remedy: "write a list, as \(showsText ? "[\(quoted(text))]" : example)")
        case .sequence(let items):
            guard items.count <= limit else {
                throw Complaint(
                    problem: "the list has \(items.count) items, more than the \(limit) allowed", remedy: "shorten it")
            }
            return items
        }
    }
}
