package gateway

import "github.com/sallyport/sallyport/ssl"

// PutProfiles is [*Server.Apply] for a change that only puts profiles, so that everything
// it reports is about them. With it, [ssl.Watch] keeps a gateway's profiles in step with
// their files, as it does for a [ssl.Store]:
//
//	watcher, err := ssl.Watch(gw.PutProfiles, nil, files...)
func (s *Server) PutProfiles(profiles ...ssl.Config) (ssl.Report, error) {
	report, err := s.Apply(Change{Put: Config{Profiles: profiles}})
	if err != nil {
		return ssl.Report{}, err
	}
	var out ssl.Report
	for _, w := range report.Warnings {
		out.Warnings = append(out.Warnings, ssl.Warning{ID: w.ID, Field: w.Field, Text: w.Text, Opened: w.Opened})
	}
	return out, nil
}
