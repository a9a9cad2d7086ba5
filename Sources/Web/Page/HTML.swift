/// Markup, with attributes in double quotes. Text that is put into it is escaped: only another piece of markup stays as
/// it is.
struct HTML: ExpressibleByStringInterpolation, Sendable {
    let markup: String

    init(stringLiteral markup: String) {
        self.markup = markup
    }

    init(stringInterpolation pieces: StringInterpolation) {
        markup = pieces.markup
    }

    fileprivate init(markup: String) {
        self.markup = markup
    }

    struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var markup = ""

        init(literalCapacity: Int, interpolationCount: Int) {
            markup.reserveCapacity(literalCapacity + interpolationCount * 16)
        }

        mutating func appendLiteral(_ literal: String) { markup += literal }

        mutating func appendInterpolation(_ html: HTML) { markup += html.markup }

        mutating func appendInterpolation(_ text: some StringProtocol) {
            for scalar in text.unicodeScalars {
                switch scalar {
                case "&": markup += "&amp;"
                case "<": markup += "&lt;"
                case ">": markup += "&gt;"
                case "\"": markup += "&quot;"
                default: markup.unicodeScalars.append(scalar)
                }
            }
        }

        mutating func appendInterpolation(_ number: some BinaryInteger) { markup += String(number) }

        /// The page's own style or script, which has no text from elsewhere.
        mutating func appendInterpolation(resource bytes: [UInt8]) { markup += String(decoding: bytes, as: UTF8.self) }
    }

    static func + (first: HTML, second: HTML) -> HTML { HTML(markup: first.markup + second.markup) }
}

extension Sequence<HTML> {
    func joined(separator: StaticString = "") -> HTML { HTML(markup: map(\.markup).joined(separator: "\(separator)")) }
}
