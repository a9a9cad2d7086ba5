import Foundation
import PackagePlugin

/// Compiles the kernel programs with the toolchain's own clang, and makes a Swift source of the result.
@main
struct CompileKernelPrograms: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let sources = context.package.directoryURL.appending(path: "Sources")
        let source = sources.appending(path: "KernelPrograms/applications.bpf.c")
        let header = sources.appending(path: "CBPF/include/applications.h")
        let output = context.pluginWorkDirectoryURL.appending(path: "KernelObject.swift")
        return [
            .buildCommand(
                displayName: "Compiling the kernel programs",
                executable: try context.tool(named: "EmbedKernelPrograms").url,
                arguments: [
                    try context.tool(named: "clang").url.path, source.path, header.deletingLastPathComponent().path,
                    output.path,
                ],
                inputFiles: [source, header], outputFiles: [output])
        ]
    }
}
