package web

func newPostForm(key, community, title, text string) postForm {
	return postForm{
		Key: key,
		Community: field{Name: "community", Label: "Community", Hint: "Its handle, such as commons.example.com, or its DID.",
			Value: community, Required: true, Literal: true, Autocomplete: "off"},
		Title: field{Name: "title", Label: "Title", Hint: "Up to 300 characters.", Value: title, Autocomplete: "off"},
		Text:  field{Name: "text", Label: "Text", Hint: "Up to 10,000 characters. A blank line begins a new paragraph.", Value: text, Rows: 12},
	}
}
