import NIOHTTP1

/// The order of one connection's requests: one is answered at a time, and the next one begins when its answer is sent.
///
/// Otherwise a client that sends requests and reads nothing would fill the memory with answers.
struct RequestQueue {
    /// What to do after an answer is sent.
    enum Next {
        case answer(HTTPRequest)
        /// The next request makes no sense: refuse it, and close.
        case refuse(HTTPResponseStatus)
        case close
        /// Read the next request.
        case read
    }

    private var waiting: [HTTPRequest] = []
    private var isAnswering = false
    private var isInputClosed = false
    private var refusal: HTTPResponseStatus?

    /// Whether no request is being answered or waits.
    var isIdle: Bool { !isAnswering && waiting.isEmpty }

    /// A request has come.
    ///
    /// - Returns: The request, if it is to be answered now.
    mutating func take(_ request: HTTPRequest) -> HTTPRequest? {
        if refusal != nil { return nil }
        if isAnswering {
            waiting.append(request)
            return nil
        }
        isAnswering = true
        return request
    }

    /// The client's input makes no sense from here on.
    ///
    /// - Returns: Whether to refuse it now.
    mutating func refuse(_ status: HTTPResponseStatus) -> Bool {
        if refusal != nil { return false }
        refusal = status
        return !isAnswering
    }

    /// The client has closed its side; it still gets its answers.
    ///
    /// - Returns: Whether to close now.
    mutating func inputClosed() -> Bool {
        isInputClosed = true
        return !isAnswering && refusal == nil
    }

    /// The answer under way is sent.
    mutating func answerSent() -> Next {
        isAnswering = !waiting.isEmpty
        if isAnswering { return .answer(waiting.removeFirst()) }
        if let refusal { return .refuse(refusal) }
        return isInputClosed ? .close : .read
    }
}
