import Glibc

/// Runs a program to its end, in this thread's network; what it prints goes where this process prints.
///
/// - Parameter command: The program, looked up in `PATH`, and its arguments.
/// - Returns: What `waitpid` says, 0 if all is well; or, as a failure, why it can't be started.
package func runToEnd(_ command: [String]) -> Result<CInt, StartFailure> {
    var arguments = command.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var process = pid_t()
    let code = posix_spawnp(&process, command[0], nil, nil, &arguments, environ)
    if code != 0 { return .failure(StartFailure(reason: String(cString: strerror(code)))) }
    var status: CInt = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
    return .success(status)
}

/// Why a program can't be started.
package struct StartFailure: Error {
    package let reason: String
}
