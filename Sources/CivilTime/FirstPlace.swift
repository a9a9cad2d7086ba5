extension Array {
    /// The first place where `holds` is true, by halving; `endIndex` if there is none.
    ///
    /// - Precondition: Behind a place where it is true, it is true everywhere.
    @inlinable
    package func firstPlace(where holds: (Element) -> Bool) -> Int {
        var (low, high) = (startIndex, endIndex)
        while low < high {
            let middle = (low + high) / 2
            if holds(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
