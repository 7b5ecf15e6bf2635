import DeployAgent
import HTTPTypes
import Hummingbird
import Testing

@testable import AgentHTTP

@Suite struct HealthRoutesTests {
    @Test("livez is 200 while the loop has shown itself in time, else 503", arguments: [(60, 200), (0, 503)])
    func livez(silence: Int, code: Int) {
        let vitals = Vitals(silence: .seconds(silence))
        let answer = HealthRoutes(vitals: vitals).livez(vitals.snapshot)
        #expect((answer.status ?? .ok).code == code)
        #expect((answer.responseGenerator.reason == nil) == (code == 200))
    }
}
