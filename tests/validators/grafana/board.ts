// A dashboard as Grafana 11.6 knows it: its own types (@grafana/schema), put together strictly. Where the package says "any
// record" and the panel's plugin says which, the plugin's types stand. Every unknown key and every wrong value is an error.
import * as dashboard from '@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen';
import * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import * as logs from '@grafana/schema/dist/esm/raw/composable/logs/panelcfg/x/LogsPanelCfg_types.gen';
import * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import * as text from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON has the values of enums, not their names.
type Plain<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
// Grafana fills what a panel's options leave out with the plugin's defaults.
type Part<T> = T extends (infer U)[] ? Part<U>[] : T extends object ? { [K in keyof T]?: Part<T[K]> } : T;

type Nothing = Record<string, never>;
type Link = { title: string; url: string; targetBlank?: boolean };
type Field = Omit<Plain<dashboard.FieldConfig>, 'custom' | 'links'> & { links?: Link[] };
// An override sets one property of a field: each with a value of its own type.
type Property<Custom> =
  | { [K in keyof Field]-?: { id: K; value: Field[K] } }[keyof Field]
  | { [K in keyof Custom & string]-?: { id: `custom.${K}`; value: Custom[K] } }[keyof Custom & string];

// What the ClickHouse plugin 4.20 takes (src/types/sql.ts): SQL as it is, and what becomes of the answer.
type Source = { type: 'grafana-clickhouse-datasource'; uid: 'clickhouse' };
type Query = {
  refId: string;
  datasource: Source;
  editorType: 'sql';
  rawSql: string;
  format: 0 | 1 | 2 | 3;
  queryType: 'timeseries' | 'table' | 'logs' | 'traces';
};

type Panel<Type extends string, Options, Custom> =
  Omit<Plain<dashboard.Panel>, 'type' | 'options' | 'fieldConfig' | 'targets' | 'datasource'> & {
    type: Type;
    datasource?: Source;
    targets?: Query[];
    options?: Part<Plain<Options>>;
    fieldConfig?: {
      defaults: Field & { custom?: Part<Plain<Custom>> };
      overrides: { matcher: { id: 'byName' | 'byRegexp' | 'byType' | 'byFrameRefID'; options: string }; properties: Property<Part<Plain<Custom>>>[] }[];
    };
  };

type AnyPanel =
  | Panel<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | Panel<'stat', stat.Options, Nothing>
  | Panel<'table', table.Options, table.FieldConfig>
  | Panel<'bargauge', bargauge.Options, Nothing>
  | Panel<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | Panel<'logs', logs.Options, Nothing>
  | Panel<'text', text.Options, Nothing>
  | Panel<'traces', Nothing, Nothing>; // it has no options

type Row = Omit<Plain<dashboard.RowPanel>, 'panels'> & { panels: AnyPanel[] };

type Variable = Omit<Plain<dashboard.VariableModel>, 'query' | 'datasource'> & {
  datasource?: Source;
  query?: string | Omit<Query, 'datasource'>;
  // Of variables of the type interval; Grafana's SDK writes them with every variable (11.6).
  auto?: boolean;
  auto_count?: number;
  auto_min?: string;
};

type Annotation = Omit<Plain<dashboard.AnnotationQuery>, 'target' | 'datasource'> & {
  datasource: Source | { type: 'grafana'; uid: '-- Grafana --' };
  target?: Plain<dashboard.AnnotationTarget> | Query; // the latter where the datasource answers queries
};

export type Board = Omit<Plain<dashboard.Dashboard>, 'panels' | 'templating' | 'annotations'> & {
  panels: (AnyPanel | Row)[];
  templating: { list: Variable[] };
  annotations: { list: Annotation[] };
};
