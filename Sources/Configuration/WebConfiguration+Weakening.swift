extension WebConfiguration {
    /// The protection that a new configuration takes away, as sentences. A half-written file may take some away.
    /// Switching TLS on or off doesn't count.
    package func weakenings(in new: WebConfiguration) -> [String] {
        var found: [String] = []
        let gone = users.keys.count { new.users[$0] == nil }
        if !users.isEmpty, new.users.isEmpty {
            found.append("no password is asked for any more")
        } else if gone > 0 {
            found.append("\(gone) of \(users.count) users \(gone == 1 ? "is" : "are") gone")
        }
        if headers.contains(where: { header in !new.headers.contains { $0.name == header.name } }) {
            found.append("headers are gone")
        } else if !Set(headers).isSubset(of: new.headers) {
            found.append("headers have other values")
        }
        if let rateLimit {
            if let newLimit = new.rateLimit {
                if newLimit.intervalNanoseconds < rateLimit.intervalNanoseconds || newLimit.burst > rateLimit.burst {
                    found.append("more requests are let through")
                }
            } else {
                found.append("requests are no longer limited")
            }
        }
        if let tls, let newTLS = new.tls { found += tls.weakenings(in: newTLS) }
        return found
    }
}

extension WebConfiguration.TLS {
    fileprivate func weakenings(in new: WebConfiguration.TLS) -> [String] {
        var found: [String] = []
        if clients.areRequired, !new.clients.areRequired {
            found.append("clients need no certificate any more")
        } else if clients.authority != nil, new.clients.authority == nil {
            found.append("certificates of clients are no longer checked")
        }
        if let names = clients.allowedNames, new.clients.areRequired {
            if new.clients.allowedNames.map({ !Set($0).isSubset(of: names) }) ?? true {
                found.append("certificates with other names are accepted")
            }
        }
        if new.versions.lowerBound < versions.lowerBound { found.append("older versions of TLS are accepted") }
        if !Set(new.cipherSuites).isSubset(of: cipherSuites) { found.append("other cipher suites are accepted") }
        return found
    }
}
