extension Array {
    /// The index of the first element for which `holds` is true, by binary search; `endIndex` if there is none.
    ///
    /// - Precondition: If `holds` is true for an element, it is true for all later ones.
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
