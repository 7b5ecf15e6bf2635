// swift-tools-version: 6.2
import PackageDescription

/// Every target compiles in language mode 6 with these features, so that isolation and imports are explicit.
let settings: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    ]
    // In CI a warning is an error; a later compiler's new warning must not keep anybody else from building.
    + (Context.environment["CI"] == nil ? [] : [.treatAllWarnings(as: .error)])

let package = Package(
    name: "deploy-agent",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "agent", targets: ["agent"]),
        .library(name: "DeployAgent", targets: ["DeployAgent"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        .systemLibrary(name: "CLibgit2", pkgConfig: "libgit2", providers: [.apt(["libgit2-dev"])]),
        .target(name: "CAgentShims"),
        .target(name: "CCurl"),
        .target(name: "CLibpq"),
        .target(name: "Threads", dependencies: ["CAgentShims"], swiftSettings: settings),
        .target(name: "Shell", dependencies: ["CAgentShims", "Threads"], swiftSettings: settings),
        .target(name: "Git", dependencies: ["CLibgit2", "Shell", "Threads"], swiftSettings: settings),
        .target(name: "Ledger", swiftSettings: settings),
        .target(
            name: "Log", dependencies: ["Ledger", "Shell", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings),
        .target(
            name: "Execution",
            dependencies: [
                "CAgentShims", "Git", "Ledger", "Log", "Shell", .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings),
        .target(
            name: "LedgerSQLite",
            dependencies: ["Ledger", "Threads", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: settings
        ),
        .target(name: "LedgerPostgres", dependencies: ["Ledger", "Postgres"], swiftSettings: settings),
        .target(name: "Postgres", dependencies: ["CAgentShims", "CLibpq", "Threads"], swiftSettings: settings),
        .target(
            name: "Settings",
            dependencies: [
                "CAgentShims", "Git", "Ledger", "Log", "Postgres", "Shell",
                .product(name: "Crypto", package: "swift-crypto"), .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "DeployAgent",
            dependencies: [
                "CAgentShims", "Execution", "Git", "Ledger", "LedgerPostgres", "LedgerSQLite", "Log", "Postgres",
                "Settings", "Shell",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "AgentHTTP",
            dependencies: [
                "CCurl", "DeployAgent", "Ledger", "Log", "Settings", "Shell",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "agent",
            dependencies: [
                "AgentHTTP", "CAgentShims", "DeployAgent", "Ledger", "Log", "Settings", "Shell",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "agent-bench",
            dependencies: [
                "CLibgit2", "DeployAgent", "Git", "Ledger", "LedgerPostgres", "LedgerSQLite", "Postgres", "Shell",
            ],
            path: "Benchmarks/AgentBench",
            swiftSettings: settings),
        .target(name: "TestSupport", dependencies: ["Shell"], path: "Tests/TestSupport", swiftSettings: settings),
        .testTarget(name: "ShellTests", dependencies: ["Shell", "TestSupport"], swiftSettings: settings),
        .testTarget(name: "GitTests", dependencies: ["Git", "Shell", "TestSupport"], swiftSettings: settings),
        .testTarget(
            name: "LedgerTests", dependencies: ["Ledger", "LedgerPostgres", "LedgerSQLite", "Postgres", "TestSupport"],
            swiftSettings: settings),
        .testTarget(name: "RemoteTests", dependencies: ["Git", "Shell", "TestSupport"], swiftSettings: settings),
        .testTarget(name: "PostgresTests", dependencies: ["Postgres", "TestSupport"], swiftSettings: settings),
        .testTarget(
            name: "ExecutionTests",
            dependencies: [
                "Execution", "Ledger", "LedgerSQLite", "Log", "Shell", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ],
            exclude: ["Golden"], swiftSettings: settings),
        .testTarget(
            name: "DeployAgentTests",
            dependencies: [
                "DeployAgent", "Execution", "Git", "Ledger", "LedgerSQLite", "Log", "Settings", "Shell", "TestSupport",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "AgentHTTPTests",
            dependencies: [
                "AgentHTTP", "DeployAgent", "Settings", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"),
            ], swiftSettings: settings),
        .testTarget(
            name: "AgentTests",
            dependencies: ["agent", "Ledger", "LedgerPostgres", "Postgres", "Shell", "TestSupport"],
            exclude: ["Golden"], swiftSettings: settings),
    ]
)
