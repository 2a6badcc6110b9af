package secrets

import (
	"encoding/json"
	"strings"
)

// row masks one row of a table: its object, and for resources that are not Kubernetes' own also its cells, because
// whoever defines a resource chooses what is in a column.
func (m Masker) row(raw, columns json.RawMessage) (json.RawMessage, error) {
	kept, err := only(raw, "cells", "conditions", "object")
	if err != nil {
		return nil, err
	}
	if whole, ok := kept["object"]; ok {
		if kept["object"], err = m.Secret(whole); err != nil {
			return nil, err
		}
		if string(whole) == "null" {
			kept["object"] = whole
		}
	}
	if cells, ok := kept["cells"]; ok && !m.Core {
		if kept["cells"], err = maskCells(cells, columns); err != nil {
			return nil, err
		}
	}
	if conditions, ok := kept["conditions"]; ok && !m.Core {
		if kept["conditions"], err = leaves(conditions); err != nil {
			return nil, err
		}
	}
	return encode(kept)
}

func maskCells(raw, columns json.RawMessage) (json.RawMessage, error) {
	var cells []any
	var defined []struct {
		Name   string `json:"name"`
		Format string `json:"format"`
	}
	if err := json.Unmarshal(raw, &cells); err != nil {
		return nil, errForm
	}
	if len(columns) > 0 {
		if err := json.Unmarshal(columns, &defined); err != nil {
			return nil, errForm
		}
	}
	for i := range cells {
		if i < len(defined) && defined[i].Format == "name" && strings.EqualFold(defined[i].Name, "name") {
			continue
		}
		if _, isText := cells[i].(string); isText {
			cells[i] = "***"
		} else {
			cells[i] = nil
		}
	}
	return encode(cells)
}
