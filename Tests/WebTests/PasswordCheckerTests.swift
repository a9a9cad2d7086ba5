import Testing

@testable import Configuration
@testable import Web

@Suite("Password checker")
struct PasswordCheckerTests {
    @Test func aWrongPasswordCostsTheSameForEveryUserAndForNone() {
        for highest in 4...20 as ClosedRange<UInt8> {
            for cost in 4...highest {
                let rounds = PasswordChecker.decoyCosts(after: cost, highest: highest).reduce(1 << Int(cost)) {
                    $0 + 1 << Int($1)
                }
                #expect(rounds == 1 << Int(highest))
            }
            #expect(PasswordChecker.decoyCosts(after: nil, highest: highest) == [highest])
        }
    }

    @Test(arguments: 4...31 as ClosedRange<UInt8>) func theDecoyIsAHashOfItsCost(_ cost: UInt8) {
        let decoy = PasswordHash(ofNobodyAtCost: cost)
        #expect(PasswordHash(String(decoding: decoy.text, as: UTF8.self)) == decoy)
    }
}
