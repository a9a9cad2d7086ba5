import FoundationEssentials
import NIOCore
import Reports

/// Reads a line, answers it, and closes.
final class ControlHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let meter: Meter
    private let ledger: LiveLedger
    private let answering: NIOLoopBoundBox<Int>
    private var line = ByteBuffer()
    private var isAnswered = false

    init(meter: Meter, ledger: LiveLedger, answering: NIOLoopBoundBox<Int>) {
        self.meter = meter
        self.ledger = ledger
        self.answering = answering
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if isAnswered { return }
        line.writeBuffer(&bytes)
        if let end = line.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) {
            isAnswered = true
            answer(Array(line.readableBytesView[..<end]), context.channel)
        } else if line.readableBytes > Control.maximumRequestBytes {
            context.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func answer(_ line: [UInt8], _ channel: any Channel) {
        answering.value += 1
        channel.closeFuture.whenComplete { [answering] _ in answering.value -= 1 }
        let request = try? JSONDecoder().decode(Control.Request.self, from: Data(line))
        if case .export(let query) = request { return export(query, channel) }
        let answer = channel.eventLoop.makeFutureWithTask { [meter, ledger] in
            await Control.answer(request, of: meter, ledger)
        }
        answer.whenSuccess { bytes in
            channel.writeAndFlush(ByteBuffer(bytes: bytes)).whenComplete { _ in channel.close(promise: nil) }
        }
    }
}

extension ControlHandler {
    /// Who looks at an export page by page may take an hour for one.
    private static let exportPatience = TimeAmount.hours(1)

    private func export(_ query: ExportQuery, _ channel: any Channel) {
        channel.pipeline.removeHandler(name: ControlServer.timeoutName).whenSuccess {
            // A pipeline that is closed already takes none.
            try? channel.pipeline.syncOperations.addHandler(
                IdleStateHandler(allTimeout: Self.exportPatience), position: .first)
        }
        let done = channel.eventLoop.makeFutureWithTask { [ledger] in
            await Control.write(query, of: ledger) { bytes in try await channel.writeAndFlush(ByteBuffer(bytes: bytes))
            }
        }
        done.whenComplete { _ in channel.close(promise: nil) }
    }
}

extension Control {
    fileprivate static func write(
        _ query: ExportQuery, of ledger: LiveLedger, to sink: @escaping ([UInt8]) async throws -> Void
    ) async {
        do {
            let export: Export<LiveLedger>
            do {
                export = try await Export(query, of: ledger)
            } catch {
                try await sink(json(Answer(error: "\(error)")) + [UInt8(ascii: "\n")])
                return
            }
            try await sink(json(Answer()) + [UInt8(ascii: "\n")])
            do {
                try await export.write { bytes, share in
                    try await sink(ExportFrame.head(count: bytes.count, "\(share)") + bytes)
                }
                try await sink(ExportFrame.head(count: 0, "1"))
            } catch {
                try await sink(ExportFrame.head(count: -1, "\(error)"))
            }
        } catch {
            // Who asked has gone.
        }
    }

    /// Answers a request; what takes long for many quotas isn't done on the meter's thread.
    ///
    /// - Parameter request: `nil` for one that makes no sense.
    fileprivate static func answer(_ request: Request?, of meter: Meter, _ ledger: LiveLedger) async -> [UInt8] {
        var answer = Answer()
        if let request {
            answer = await Self.answer(request, of: meter, ledger)
        } else {
            // It comes from another version of the program.
            answer.error = "the daemon doesn't understand the request; restart it, so that both are of one version"
        }
        let bytes = (try? JSONEncoder().encode(answer)).map(Array.init) ?? []  // Its values are all representable.
        return bytes + [UInt8(ascii: "\n")]
    }

    private static func answer(_ request: Request, of meter: Meter, _ ledger: LiveLedger) async -> Answer {
        var answer = Answer()
        switch request {
        case .plans: answer.plans = await meter.plansReport()
        case .order(let order):
            switch await meter.carryOut(order) {
            case .success(let adjustment):
                let calendar = await meter.settings.calendar(ofQuota: adjustment.quota)
                answer.adjustment = AdjustmentReport(adjustment, calendar: calendar)
            case .failure(let error): answer.error = error.description
            }
        case .live: answer.live = await meter.liveReport()
        case .basis:
            answer.basis = BookingBasis(calendar: await meter.ledger.calendar, rules: await meter.settings.rules)
        case .importPiece(let accounts, let isTrial):
            switch await meter.carryOut(ImportPiece(accounts: accounts, isTrial: isTrial)) {
            case .success(let outcomes): answer.imported = outcomes
            case .failure(let error): answer.error = error.description
            }
        case .export: answer.error = "an export isn't one answer"  // Handled by the connection.
        case .usage(let query):
            do {
                answer.usage = try await ledger.usage(query)
            } catch {
                answer.error = "\(error)"
            }
        }
        return answer
    }
}
