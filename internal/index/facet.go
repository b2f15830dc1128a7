package index

// checkFacets refuses facets that mark text which is not there, which a
// lexicon cannot: their ranges count bytes of another field.
func checkFacets(record map[string]any, textField, facetField string) error {
	size := int64(len(text(record, textField)))
	facets, _ := record[facetField].([]any)
	for _, f := range facets {
		facet, _ := f.(map[string]any)
		index, _ := facet["index"].(map[string]any)
		start, _ := index["byteStart"].(int64)
		end, _ := index["byteEnd"].(int64)
		if start < 0 || end <= start || end > size {
			return flawed(ReasonFacet, "a facet of "+facetField+" lies outside of "+textField)
		}
	}
	return nil
}
