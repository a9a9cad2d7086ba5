import Glibc

/// Runs a program and waits for its end. It has this thread's network namespace and this process's output.
///
/// - Parameter command: The program, looked up in `PATH`, and its arguments.
/// - Returns: The status of waitpid(2), 0 if all is well; or the reason why the program can't be started.
package func runToEnd(_ command: [String]) -> Result<CInt, StartFailure> {
    var arguments = command.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var process = pid_t()
    let code = posix_spawnp(&process, command[0], nil, nil, &arguments, environ)
    if code != 0 { return .failure(StartFailure(reason: errorText(code))) }
    var status: CInt = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
    return .success(status)
}

/// Why a program can't be started.
package struct StartFailure: Error {
    package let reason: String
}
