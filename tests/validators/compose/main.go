// Prints the Compose file that is given as the client resolves it, with all profiles, as JSON. The loader is that of `docker compose`.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithOsEnv, cli.WithProfiles([]string{"*"}))
	if err == nil {
		project, failed := options.LoadProject(context.Background())
		err = failed
		if err == nil {
			text, failed := project.MarshalJSON()
			err = failed
			fmt.Println(string(text))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
