import NIOHTTP1

/// The order of one connection's requests: one is answered at a time, and the next one begins when its answer is sent.
///
/// Otherwise a client that sends requests and reads nothing would fill the memory with answers.
struct RequestQueue {
    /// What comes after an answer is sent.
    enum Next {
        case answer(HTTPRequestHead)
        /// The request behind it makes no sense: say so, and close.
        case refuse(HTTPResponseStatus)
        case close
        /// Read the next request.
        case read
    }

    private var waiting: [HTTPRequestHead] = []
    private var isAnswering = false
    private var isInputClosed = false
    private var refusal: HTTPResponseStatus?

    /// Whether nothing is being answered or waits for that.
    var isIdle: Bool { !isAnswering && waiting.isEmpty }

    /// A request has come.
    ///
    /// - Returns: It, if it is to be answered now.
    mutating func take(_ head: HTTPRequestHead) -> HTTPRequestHead? {
        if refusal != nil { return nil }
        if isAnswering {
            waiting.append(head)
            return nil
        }
        isAnswering = true
        return head
    }

    /// What the client sends from here on makes no sense.
    ///
    /// - Returns: Whether to say so now.
    mutating func refuse(_ status: HTTPResponseStatus) -> Bool {
        if refusal != nil { return false }
        refusal = status
        return !isAnswering
    }

    /// The client sends nothing more; it gets the answers that it waits for.
    ///
    /// - Returns: Whether to close now.
    mutating func inputClosed() -> Bool {
        isInputClosed = true
        return !isAnswering && refusal == nil
    }

    /// The answer under way is sent.
    mutating func answerSent() -> Next {
        isAnswering = false
        if !waiting.isEmpty {
            isAnswering = true
            return .answer(waiting.removeFirst())
        }
        if let refusal { return .refuse(refusal) }
        return isInputClosed ? .close : .read
    }
}
