/// Checks that a file is UTF-8 and has only visible characters and no directives.
///
/// This is stricter than YAML. Line breaks U+0085, U+2028 and U+2029 are refused, because editors show no new line for
/// them. Tabs are refused, except in comments. A byte order mark may begin the file.
/// Directives are refused before libyaml sees them, because its time grows with the square of their number.
/// - Returns: the place after the last character.
/// - Throws: `Finding` for the first character that isn't allowed.
func rejectDisallowedCharacters(in bytes: [UInt8]) throws(Finding) -> FilePlace {
    let text = bytes.dropByteOrderMark()
    var place = FilePlace.start
    var offset = text.startIndex
    var followsCarriageReturn = false
    var isComment = false
    var followsSpace = true
    // Decoding puts U+FFFD for bytes that aren't UTF-8. `offset` is right up to the first of them.
    for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
        if scalar == "\u{FFFD}", !text[offset...].starts(with: "\u{FFFD}".utf8) {
            throw Finding(
                place: place, complaint: Complaint(problem: "the file is not UTF-8 text", remedy: "save it as UTF-8"))
        }
        if !(isComment && scalar == "\t"), let complaint = complaint(about: scalar, column: place.column) {
            throw Finding(place: place, complaint: complaint)
        }
        if scalar == "#", followsSpace { isComment = true }
        followsSpace = scalar == " " || scalar == "\n" || scalar == "\r"
        switch scalar {
        case "\n" where followsCarriageReturn: break
        case "\n", "\r":
            place = FilePlace(line: place.line + 1, column: 1)
            isComment = false
        default: place.column += 1
        }
        offset += UTF8.width(scalar)
        followsCarriageReturn = scalar == "\r"
    }
    return place
}

private func complaint(about scalar: Unicode.Scalar, column: Int) -> Complaint? {
    switch scalar.value {
    case 0x0A, 0x0D: nil
    case 0x00: Complaint(problem: "there is a NUL byte here", remedy: "remove it, or save the file as UTF-8")
    case 0x09: Complaint(problem: "there is a tab here", remedy: "write spaces instead")
    case 0x25 where column == 1:
        Complaint(
            problem: "a line that begins with % is a YAML directive, and none is known here", remedy: "remove the line")
    case 0x01...0x1F, 0x7F...0x9F, 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF:
        Complaint(problem: "there is the invisible character U+\(hexadecimal(scalar)) here", remedy: "remove it")
    default: nil
    }
}

private func hexadecimal(_ scalar: Unicode.Scalar) -> String {
    let digits = String(scalar.value, radix: 16, uppercase: true)
    return String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
}

extension [UInt8] {
    /// The bytes without a leading U+FEFF, which some editors write.
    func dropByteOrderMark() -> ArraySlice<UInt8> {
        starts(with: [0xEF, 0xBB, 0xBF]) ? dropFirst(3) : self[...]
    }
}
