package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	mostContexts = 64
	mostEntries  = 2000
	longestName  = 600
)

var (
	verb        = regexp.MustCompile(`^(\*|[a-z][a-z:-]*)$`)
	group       = regexp.MustCompile(`^(\*|[a-z0-9.-]*)$`)
	resource    = regexp.MustCompile(`^(\*|[a-z0-9.-]+)(/(\*|[a-z0-9.-]+))?$`)
	namespace   = regexp.MustCompile(`^[a-z0-9*-]+$`)
	nonResource = regexp.MustCompile(`^(\*|/[^*]*\*?)$`)
)

func (c *Configuration) check() error {
	if err := checkContexts(c.Contexts); err != nil {
		return err
	}
	if len(c.Rules) == 0 {
		return errors.New("no rules: one that allows everything must be said")
	}
	all := 0
	for i, rule := range c.Rules {
		if err := rule.check(); err != nil {
			return fmt.Errorf("rules[%d]: %w", i, err)
		}
		all += len(rule.Allow) + len(rule.Deny)
	}
	if all > mostEntries {
		return fmt.Errorf("more than %d entries of allow and deny", mostEntries)
	}
	return nil
}

func (r Rule) check() error {
	if !slices.Contains([]Access{Full, DryRun, ReadOnly}, r.Access) {
		return fmt.Errorf("access is %q, not one of full, dry_run, read_only", r.Access)
	}
	if !slices.Contains([]Secrets{Open, Masked, None}, r.Secrets) {
		return fmt.Errorf("secrets is %q, not one of full, masked, none", r.Secrets)
	}
	if err := checkName(r.Name); err != nil {
		return err
	}
	for list, entries := range map[string][]Entry{"allow": r.Allow, "deny": r.Deny} {
		for i, entry := range entries {
			if err := entry.check(); err != nil {
				return fmt.Errorf("%s[%d]: %w", list, i, err)
			}
		}
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > longestName {
		return fmt.Errorf("name must have 1 to %d bytes: messages have it", longestName)
	}
	return nil
}

func checkContexts(contexts []Context) error {
	if len(contexts) == 0 || len(contexts) > mostContexts {
		return fmt.Errorf("%d contexts: there must be 1 to %d", len(contexts), mostContexts)
	}
	ports := map[int]bool{}
	for _, context := range contexts {
		if context.Port < 0 || context.Port > 65535 {
			return fmt.Errorf("context %q: %d is not a port", context.Name, context.Port)
		}
		if context.Port != 0 && ports[context.Port] {
			return fmt.Errorf("context %q: port %d belongs to another context", context.Name, context.Port)
		}
		ports[context.Port] = true
	}
	return nil
}

func (e Entry) check() error {
	if err := checkName(e.Name); err != nil {
		return err
	}
	if err := each("verbs", e.Verbs, verb); err != nil {
		return err
	}
	if len(e.Verbs) == 0 {
		return errors.New("no verbs")
	}
	if len(e.NonResourceURLs) > 0 {
		if len(e.APIGroups)+len(e.Resources)+len(e.ResourceNames)+len(e.Namespaces) > 0 {
			return errors.New("an entry is either about resources or about nonResourceURLs")
		}
		return each("nonResourceURLs", e.NonResourceURLs, nonResource)
	}
	if len(e.APIGroups) == 0 || len(e.Resources) == 0 {
		return errors.New("neither apiGroups with resources nor nonResourceURLs")
	}
	if slices.Contains(e.ResourceNames, "") {
		return errors.New("an empty name in resourceNames")
	}
	return errors.Join(
		each("apiGroups", e.APIGroups, group),
		each("resources", e.Resources, resource),
		each("namespaces", e.Namespaces, namespace),
		notEmpty("resourceNames", e.ResourceNames),
		notEmpty("namespaces", e.Namespaces),
	)
}

func each(field string, values []string, pattern *regexp.Regexp) error {
	for _, value := range values {
		if !pattern.MatchString(value) {
			return fmt.Errorf("%q cannot be one of %s: nothing would ever match it", value, field)
		}
	}
	return nil
}

// notEmpty tells a list that is not there from one without members: is that all names, or none?
func notEmpty(field string, values []string) error {
	if values != nil && len(values) == 0 {
		return fmt.Errorf("%s is there and has no member", strings.TrimSpace(field))
	}
	return nil
}
