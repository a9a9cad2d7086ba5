import Foundation

/// Compiles C for the kernel, and writes the object as a Swift source: `Embed CLANG SOURCE INCLUDES OUTPUT`.
@main
struct Embed {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 5 else { throw Failure("needs clang, a source, a folder of headers and an output") }
        let (clang, source, includes, output) = (arguments[1], arguments[2], arguments[3], arguments[4])
        let object = output + ".o"
        let compiler = Process()
        compiler.executableURL = URL(fileURLWithPath: clang)
        // Debugging information is where the loader finds the kernel's structures from (BTF).
        compiler.arguments =
            ["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
            + (try systemHeaders() + [includes]).flatMap { ["-I", $0] } + ["-c", source, "-o", object]
        try compiler.run()
        compiler.waitUntilExit()
        guard compiler.terminationStatus == 0 else {
            throw Failure("clang can't compile the kernel programs, see above; make build installs libbpf-dev")
        }
        let bytes = try Data(contentsOf: URL(fileURLWithPath: object)).map { String($0) }
        let text = "enum KernelObject { static let bytes: [UInt8] = [\(bytes.joined(separator: ","))] }\n"
        // A file that is written again is compiled again.
        if (try? String(contentsOfFile: output, encoding: .utf8)) == text { return }
        try text.write(toFile: output, atomically: true, encoding: .utf8)
    }

    /// Where Debian has `asm/types.h`: it is the machine's, and the kernel's programs have no machine.
    private static func systemHeaders() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "/usr/include").map { "/usr/include/\($0)" }
            .filter { FileManager.default.fileExists(atPath: $0 + "/asm/types.h") }.sorted()
    }

    private struct Failure: Error, CustomStringConvertible {
        let description: String

        init(_ description: String) { self.description = description }
    }
}
