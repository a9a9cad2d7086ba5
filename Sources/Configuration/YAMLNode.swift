/// One value of a YAML file with the place where it begins.
struct YAMLNode {
    enum Content {
        /// `isPlain` means without quotes: `true` and "true" may differ.
        case scalar(text: String, isPlain: Bool)
        case sequence([YAMLNode])
        /// In the order of the file; no key appears twice.
        case mapping([YAMLEntry])
        /// A value that already has a finding. Don't complain about it again.
        case rejected
    }

    let content: Content
    let place: FilePlace

    /// Whether there is no value, or one of YAML's words for no value.
    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// Whether this is a scalar without quotes.
    var isPlain: Bool {
        if case .scalar(_, isPlain: true) = content { true } else { false }
    }

    /// The text of a scalar.
    /// - Parameter kind: the expected kind, like "a duration".
    /// - Throws: `Complaint` with the given remedy for a list, a mapping or no value.
    func text(of kind: String, remedy: String) throws(Complaint) -> String {
        switch content {
        case .sequence: throw Complaint(problem: "this is a list, not \(kind)", remedy: remedy)
        case .mapping: throw Complaint(problem: "this is a mapping, not \(kind)", remedy: remedy)
        // Never reached: `MappingReader` decodes no rejected value.
        case .rejected: return ""
        case .scalar(let text, isPlain: _):
            if isNull { throw Complaint(problem: "has no value", remedy: "\(remedy), or leave it out") }
            return text
        }
    }

    /// What `parse` makes of the text of a scalar.
    /// - Throws: `Complaint` with the given remedy as `text(of:remedy:)` does, and if `parse` returns nil.
    func parsed<Value>(_ kind: String, remedy: String, _ parse: (String) -> Value?) throws(Complaint) -> Value {
        let text = try text(of: kind, remedy: remedy)
        guard let value = parse(text) else {
            throw Complaint(problem: "\(quoted(text)) is not \(kind)", remedy: remedy)
        }
        return value
    }
}

/// A key of a mapping and its value.
struct YAMLEntry {
    let key: String
    let keyPlace: FilePlace
    let value: YAMLNode
}
