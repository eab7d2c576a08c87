package apisix

// FitsPlugin reports whether the configuration of the plugin fits its schema.
func FitsPlugin(v any) bool { return pluginSchema.fits(v) }
