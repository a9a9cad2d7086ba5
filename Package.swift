// swift-tools-version:6.2
import PackageDescription

/// The same for every target: the Swift 6 language mode, with complete data-race checking, and no warnings.
let strict: [SwiftSetting] = [.treatAllWarnings(as: .error), .enableUpcomingFeature("ExistentialAny")]

/// For targets whose tests calculate for minutes without the optimizer. It keeps all checks of arithmetic and bounds.
let optimized: [SwiftSetting] = strict + [.unsafeFlags(["-O"], .when(configuration: .debug))]

/// A target, and the targets that it may import. An import that isn't listed doesn't compile.
func target(
    _ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource]? = nil,
    settings: [SwiftSetting] = strict
) -> Target {
    .target(name: name, dependencies: dependencies, resources: resources, swiftSettings: settings)
}

func tests(
    _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [], resources: [Resource]? = nil,
    settings: [SwiftSetting] = strict
) -> Target {
    .testTarget(
        name: name, dependencies: dependencies, exclude: exclude, resources: resources, swiftSettings: settings)
}

/// The commit of this build, for `netusage_build_info`.
let revision = Context.gitInformation.map { $0.currentCommit + ($0.hasUncommittedChanges ? "-dirty" : "") } ?? "unknown"

/// Packs the relocations into a tenth of their bytes, 1.7 MB less to read at each start. Needs the toolchain's own linker, and
/// glibc 2.36 or later.
let smallRelocations = LinkerSetting.unsafeFlags(
    ["-use-ld=lld", "-Xlinker", "--icf=safe", "-Xlinker", "-z", "-Xlinker", "pack-relative-relocs"],
    .when(configuration: .release))

let package = Package(
    name: "netusage",
    products: [.executable(name: "netusage", targets: ["netusage"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    ],
    targets: [
        // Shims over C libraries of the system. The Makefile installs their Debian packages.
        .target(
            name: "CLinux", cSettings: [.define("NETUSAGE_REVISION", to: "\"\(revision)\"")],
            linkerSettings: [.linkedLibrary("crypt")]),
        .target(name: "CBPF", linkerSettings: [.linkedLibrary("bpf")]),
        .systemLibrary(name: "CSQLite"),
        .systemLibrary(name: "CYAML"),
        .systemLibrary(name: "CISAL"),

        // The core. It does no input and no output.
        target("CivilTime", settings: optimized),
        target("Accounting", ["CivilTime"], settings: optimized),
        target("Exposition"),
        target("Reports", ["Accounting", "CivilTime", "Exposition"]),

        // The edges: the kernel, the disk, files.
        target("Netlink", ["CLinux", "Machine"]),
        target("Machine", ["CLinux", .product(name: "SystemPackage", package: "swift-system")]),
        .target(
            name: "Applications", dependencies: ["Accounting", "CLinux", "CBPF", "Machine"], swiftSettings: strict,
            plugins: ["CompileKernelPrograms"]),
        .plugin(
            name: "CompileKernelPrograms", capability: .buildTool(), dependencies: ["EmbedKernelPrograms"],
            path: "Sources/KernelPrograms/Plugin"),
        .executableTarget(
            name: "EmbedKernelPrograms", path: "Sources/KernelPrograms/Embed", swiftSettings: strict),
        target("SQLite", ["CSQLite"]),
        target("LedgerStore", ["Accounting", "CivilTime", "Machine", "SQLite", "CLinux"], settings: optimized),
        target("Configuration", ["Accounting", "CivilTime", "CYAML"], settings: optimized),

        target(
            "Web",
            [
                "CivilTime", "Accounting", "Exposition", "Reports", "Machine", "Configuration", "CLinux", "CISAL",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Logging", package: "swift-log"),
            ], resources: [.embedInCode("Page/page.css"), .embedInCode("Page/page.js")]),

        // The exporter and the command, which join the core and the edges.
        target(
            "Exporter",
            [
                "CivilTime", "Accounting", "Applications", "Exposition", "Reports", "Machine", "Netlink", "LedgerStore",
                "Configuration", "Web", "CLinux",
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        .executableTarget(
            name: "netusage",
            dependencies: [
                "Exporter", "Web", "Reports", "Machine", "Configuration", "Accounting", "CivilTime", "Applications",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            // Files that `netusage service install` writes. They are links to the files in deploy/.
            resources: [
                .embedInCode("Service/netusage.service"), .embedInCode("Service/applications.conf"),
                .embedInCode("Service/netusage.sysusers"),
                .embedInCode("Service/netusage.yaml"),
            ],
            swiftSettings: strict, linkerSettings: [smallRelocations]),

        // Shared by the tests: a disk that fails on demand, namespaces for one thread, seeded randomness, a plain store.
        .target(
            name: "CFaultVFS", path: "Tests/Support/CFaultVFS", linkerSettings: [.linkedLibrary("sqlite3")]),
        .target(name: "CTestLinux", path: "Tests/Support/CTestLinux"),
        .target(
            name: "TestSupport", dependencies: ["Accounting", "CivilTime"], path: "Tests/Support/TestSupport",
            swiftSettings: optimized),

        // `make bench` runs this program.
        .executableTarget(
            name: "backtest", dependencies: ["Accounting", "TestSupport"], path: "Tests/Bench/Backtest",
            swiftSettings: strict),

        tests("CivilTimeTests", ["CivilTime", "TestSupport"], exclude: ["zone_days.py"], settings: optimized),
        tests("AccountingTests", ["Accounting", "CivilTime", "TestSupport"], settings: optimized),
        tests(
            "ExporterTests",
            [
                "Exporter", "Reports", "Configuration", "Accounting", "CivilTime", "Exposition", "Netlink",
                "LedgerStore", "Machine", "TestSupport",
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ], exclude: ["Golden"]),
        tests(
            "WebTests",
            [
                "Web", "Reports", "Configuration", "Accounting", "CivilTime", "Machine", "CISAL", "TestSupport",
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ]),
        tests(
            "LedgerStoreTests",
            [
                "LedgerStore", "Machine", "SQLite", "Accounting", "CivilTime", "CSQLite", "CFaultVFS", "CTestLinux",
                "TestSupport",
            ],
            resources: [.copy("Fixtures")], settings: optimized),
        tests("netusageTests", ["netusage", "Reports", "Accounting", "CivilTime", "TestSupport"]),
        tests("ReportsTests", ["Reports", "Accounting", "CivilTime", "TestSupport"]),
        tests("MachineTests", ["Machine"]),
        tests("ApplicationsTests", ["Applications", "Accounting", "CBPF", "CTestLinux"]),
        tests("SQLiteTests", ["SQLite"]),
        tests("NetlinkTests", ["Netlink", "CLinux", "CTestLinux", "TestSupport"]),
        tests("ExpositionTests", ["Exposition", "TestSupport"]),
        tests(
            "ConfigurationTests", ["Configuration", "Accounting", "CivilTime", "TestSupport"], exclude: ["Golden"]),
    ]
)
