import Glibc

/// What Prometheus's client libraries say of a process
/// (https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics), read from `/proc` (proc(5)).
enum ProcessMetrics {
    static func add(to out: inout MetricsText) {
        var usage = rusage()
        // RUSAGE_SELF
        getrusage(__rusage_who_t(0), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        out.metric("process_cpu_seconds_total", .counter, "User and system CPU time in seconds.")
        out.sample("process_cpu_seconds_total", [], seconds(usage.ru_utime) + seconds(usage.ru_stime))
        let pages = fields("/proc/self/statm").compactMap { Double($0) }
        if pages.count > 1 {
            let size = Double(sysconf(Int32(_SC_PAGESIZE)))
            out.gauge("process_virtual_memory_bytes", "Virtual memory in bytes.", pages[0] * size)
            out.gauge("process_resident_memory_bytes", "Resident memory in bytes.", pages[1] * size)
        }
        out.gauge("process_start_time_seconds", "Start time since the epoch in seconds.", startTime)
    }

    private static let startTime: Double? = {
        // Field 22, counted in ticks since boot; the name in parentheses may hold spaces.
        guard let stat = contents("/proc/self/stat"), let close = stat.lastIndex(of: ")"),
            let boot = contents("/proc/stat")?.split(separator: "\n").first(where: { $0.hasPrefix("btime ") }),
            let booted = Double(boot.dropFirst(6))
        else { return nil }
        let rest = stat[stat.index(after: close)...].split(separator: " ")
        guard rest.count > 19, let ticks = Double(rest[19]) else { return nil }
        return booted + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }()

    private static func fields(_ path: String) -> [Substring] {
        contents(path)?.split(whereSeparator: \.isWhitespace) ?? []
    }

    private static func contents(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 64 * 1024)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
